//! Answers of a kernel that this machine cannot give: of an input device for a pipe that is none, of a file
//! system that cannot be mounted here, and of a device that does not close. It is a preloaded library that
//! replaces calls of the C library; a test changes the answers in files.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const SOURCE: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <stdarg.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/vfs.h>
    #include <unistd.h>

    /* The second path of "/proc/self/fd", or nothing. */
    static int is_file(int fd, const char *name) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (!name || length < 0) return 0;
        path[length] = 0;
        return strcmp(path, name) == 0;
    }

    static void set(unsigned char *bits, unsigned size, int code) {
        if (code >= 0 && code / 8 < (int)size) bits[code / 8] |= 1 << (code % 8);
    }

    /* EVIOCGBIT(EV_KEY), EVIOCGBIT(EV_SW) and EVIOCGSW of the file in KERNEL_INPUT, by that of KERNEL_ANSWERS: which key
       it has, which switch, and which switch is on; -1 for none. */
    int ioctl(int fd, unsigned long request, ...) {
        va_list list;
        va_start(list, request);
        void *argument = va_arg(list, void *);
        va_end(list);
        int key = -1, has = -1, on = -1;
        unsigned number = _IOC_NR(request), size = _IOC_SIZE(request);
        if (_IOC_TYPE(request) == 'E' && is_file(fd, getenv("KERNEL_INPUT"))) {
            FILE *answers = fopen(getenv("KERNEL_ANSWERS"), "r");
            if (answers) {
                if (fscanf(answers, "%d %d %d", &key, &has, &on) != 3) key = has = on = -1;
                fclose(answers);
            }
            if (number != 0x21 && number != 0x25 && number != 0x1b) { errno = EINVAL; return -1; }
            memset(argument, 0, size);
            set(argument, size, number == 0x21 ? key : number == 0x25 ? has : on);
            return size;
        }
        int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
        return next(fd, request, argument);
    }

    /* Every path is on the file system whose number KERNEL_FILE_SYSTEM has, in hexadecimal digits. */
    static int put_file_system(int (*next)(const char *, void *), const char *path, void *answer) {
        const char *number = getenv("KERNEL_FILE_SYSTEM");
        int done = next(path, answer);
        if (number && done == 0) ((struct statfs *)answer)->f_type = strtoul(number, 0, 16);
        return done;
    }

    int statfs(const char *path, struct statfs *answer) {
        return put_file_system(dlsym(RTLD_NEXT, "statfs"), path, answer);
    }

    int statfs64(const char *path, struct statfs64 *answer) {
        return put_file_system(dlsym(RTLD_NEXT, "statfs64"), path, answer);
    }

    /* A driver that does not let go of the file in KERNEL_STUCK, as long as the one in KERNEL_HOLDS is there. */
    int close(int fd) {
        const char *holds = getenv("KERNEL_HOLDS");
        if (holds && access(holds, F_OK) == 0 && is_file(fd, getenv("KERNEL_STUCK")))
            for (;;) pause();
        int (*next)(int) = dlsym(RTLD_NEXT, "close");
        return next(fd);
    }
"#;

/// Builds the library in this folder, and returns the argument for `env`.
pub fn preload(dir: &Path) -> String {
    let (source, library) = (dir.join("kernel.c"), dir.join("kernel.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .expect("a C compiler, as for the camera itself");
    assert!(built.success());
    format!("LD_PRELOAD={}", library.display())
}

/// A pipe that sends the structs of an input device, and answers like one.
pub struct Input {
    pub path: PathBuf,
    pub pipe: Option<File>,
    dir: PathBuf,
}

impl Input {
    /// With this key, this switch, and that switch on; -1 for none.
    pub fn new(dir: &Path, answers: (i32, i32, i32)) -> Input {
        let path = dir.join("event0");
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a plain system call with a string of the test.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let pipe = Some(File::options().read(true).write(true).open(&path).unwrap());
        let input = Input { path, pipe, dir: dir.to_owned() };
        input.answer(answers);
        input
    }

    /// Sets what the device answers from now on.
    pub fn answer(&self, (key, has, on): (i32, i32, i32)) {
        std::fs::write(self.dir.join("answers"), format!("{key} {has} {on}\n")).unwrap();
    }

    /// The arguments of `env` for a camera that sees the device.
    pub fn environment(&self) -> [String; 3] {
        [
            preload(&self.dir),
            format!("KERNEL_INPUT={}", self.path.display()),
            format!("KERNEL_ANSWERS={}", self.dir.join("answers").display()),
        ]
    }

    pub fn tell(&mut self, (kind, code): (u16, u16), value: i32) {
        let mut event = vec![0; size_of::<libc::input_event>() - 8];
        event.extend(kind.to_ne_bytes());
        event.extend(code.to_ne_bytes());
        event.extend(value.to_ne_bytes());
        self.pipe.as_mut().unwrap().write_all(&event).unwrap();
    }
}
