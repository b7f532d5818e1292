"""An RTSP server on loopback for the tests. Prints its port.

`silent` or `sound`: H.264 without or with AAC, live. `clip FILE PORT`: the H.264 of an MP4 file, from its beginning to
whoever connects; port 0 is any that is free. With `h265` behind it, it is H.265.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
codec = "265" if "h265" in sys.argv else "264"
pay = f" ! h{codec}parse config-interval=-1 ! rtph{codec}pay name=pay0 pt=96"
video = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=20/1,format=I420"
    f" ! x{codec}enc tune=zerolatency speed-preset=ultrafast key-int-max=10"
)
video += pay if codec == "265" else " ! rtph264pay name=pay0 pt=96"
audio = " audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97"
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[3] if "clip" in sys.argv else "0")
factory = GstRtspServer.RTSPMediaFactory()
if "clip" in sys.argv:
    clip = f"filesrc location={sys.argv[2]} ! qtdemux" + pay
    factory.set_launch("( " + clip + " )")
else:
    factory.set_launch("( " + video + (audio if "sound" in sys.argv else "") + " )")
    factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
