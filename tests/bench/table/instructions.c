// A plugin for QEMU: counts the instructions of an emulated program, by thread, in a file that can be read at any time.
//
//   qemu-arm -plugin ./instructions.so,out=FILE PROGRAM
//
// FILE is an array of 64-bit numbers in the byte order of the host, eight for each thread; the first of them is the count.
//
// Each translated block adds the number of its instructions to the count of its thread; with one count for all threads some
// would be lost. Instructions of the kernel are not seen.
//
// The functions of QEMU are declared here, because Debian 12 has no package with their header. VERSION is the version of the
// interface: 1 for QEMU 7 and 8, 2 from QEMU 9 on.
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OFFERED __attribute__((visibility("default")))
#define MAX_THREADS 4096

struct block;
typedef uint64_t plugin;
enum registers { NO_REGISTERS };

extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin, void (*)(plugin, struct block *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned int, void *), enum registers, void *);

OFFERED int qemu_plugin_version = VERSION;

// Each in a cache line of its own.
struct thread {
  _Alignas(64) uint64_t count;
};
static struct thread *threads;

static void block_runs(unsigned int thread, void *instructions) { threads[thread % MAX_THREADS].count += (uintptr_t)instructions; }

static void block_is_made(plugin id, struct block *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_cb(block, block_runs, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

OFFERED int qemu_plugin_install(plugin id, const void *info, int count, char **arguments) {
  (void)info;
  if (count != 1 || strncmp(arguments[0], "out=", 4)) return -1;
  int file = open(arguments[0] + 4, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, MAX_THREADS * sizeof *threads)) return -1;
  threads = mmap(NULL, MAX_THREADS * sizeof *threads, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (threads == MAP_FAILED) return -1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, block_is_made);
  return 0;
}
