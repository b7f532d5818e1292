"""An RTSP server on loopback for the tests. Prints its port, and then a line for each client that connects.

`silent` or `audio`: H.264 without or with AAC, live. `pcmu`, `pcma`, `g722`, `opus`: with that instead of AAC.
`sizes`: 1440 lines at /live and 720 at /sub. `clip FILE PORT`: the H.264 of an MP4 file, from its beginning to
whoever connects; port 0 is any that is free. With `h265` beside it, each is H.265.
`tls FILE`: over TLS, with the certificate and key of that file. `basic USER PASSWORD` or `digest USER PASSWORD`: for whoever
knows them alone.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
codec = "265" if "h265" in sys.argv else "264"
pay = f" ! h{codec}parse config-interval=-1 ! rtph{codec}pay name=pay0 pt=96"


def video(width, height, rate, gop):
    return (
        f"videotestsrc is-live=true ! video/x-raw,width={width},height={height},framerate={rate}/1,format=I420"
        f" ! x{codec}enc tune=zerolatency speed-preset=ultrafast key-int-max={gop}"
        + (pay if codec == "265" else " ! rtph264pay name=pay0 pt=96")
    )


tone = " audiotestsrc is-live=true ! audio/x-raw,rate="
codecs = {
    "audio": tone + "48000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97",
    "pcmu": tone + "8000,channels=1 ! mulawenc ! rtppcmupay name=pay1",
    "pcma": tone + "8000,channels=1 ! alawenc ! rtppcmapay name=pay1",
    "g722": tone + "16000,channels=1 ! avenc_g722 ! rtpg722pay name=pay1",
    "opus": tone + "48000,channels=1 ! opusenc ! rtpopuspay name=pay1 pt=97",
}
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[3] if "clip" in sys.argv else "0")


def behind(word):
    return sys.argv[sys.argv.index(word) + 1 :]


login = next((word for word in ("basic", "digest") if word in sys.argv), None)
if login or "tls" in sys.argv:
    auth = GstRtspServer.RTSPAuth()
    if "tls" in sys.argv:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(behind("tls")[0]))
    if login:
        user, password = behind(login)[:2]
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if login == "basic":
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        else:
            auth.set_supported_methods(2)
            auth.add_digest(user, password, token)
    else:
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.set_default_token(token)
    server.set_auth(auth)


def serve(path, launch, shared=True):
    factory = GstRtspServer.RTSPMediaFactory()
    if login or "tls" in sys.argv:
        viewer = "viewer, media.factory.access=true, media.factory.construct=true"
        factory.add_role_from_structure(Gst.Structure.new_from_string(viewer))
    factory.set_launch("( " + launch + " )")
    factory.set_shared(shared)
    server.get_mount_points().add_factory(path, factory)


if "clip" in sys.argv:
    serve("/live", f"filesrc location={sys.argv[2]} ! qtdemux" + pay, shared=False)
elif "sizes" in sys.argv:
    serve("/live", video(2560, 1440, 5, 5))
    serve("/sub", video(1280, 720, 5, 5))
else:
    serve("/live", video(320, 180, 20, 10) + "".join(codecs.get(word, "") for word in sys.argv[1:]))

server.attach(None)
print(server.get_bound_port(), flush=True)
server.connect("client-connected", lambda *_: print("connected", flush=True))
GLib.MainLoop().run()
