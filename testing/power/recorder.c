/* Records every change below one folder, in the order in which the kernel made them: preload it into a process tree.
 *
 *   POWER_FOLDER   the folder, as realpath(3) prints it
 *   POWER_LOG      the file to append to, outside that folder
 *
 * Each record is a `struct record`, then path, other path and data. A lock over all processes is held from before the
 * call until its record is written, so that the order of the records is the order of the calls. The calls that this file
 * makes itself are system calls, which no other function here records. Changes through mapped memory are not seen:
 * SQLite maps only its -shm file, which it makes anew after a crash.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint32_t kind, path, other, pad; /* the kind is a letter; lengths of both paths */
    uint64_t inode, offset, size;
};

static const char *folder;
static int log_file = -1;
static pthread_mutex_t threads = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *why) {
    dprintf(2, "recorder: %s: %s\n", why, strerror(errno));
    _exit(97);
}

static int recording(void) {
    if (!folder) {
        const char *given = getenv("POWER_FOLDER"), *log = getenv("POWER_LOG");
        if (!given || !log) return 0;
        log_file = syscall(SYS_openat, AT_FDCWD, log, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (log_file < 0) fail(log);
        log_file = syscall(SYS_fcntl, log_file, F_DUPFD_CLOEXEC, 500); /* away from the numbers that programs expect */
        folder = given;
    }
    return 1;
}

static void lock(short how) {
    struct flock range = {.l_type = how, .l_whence = SEEK_SET};
    while (syscall(SYS_fcntl, log_file, F_SETLKW, &range) < 0)
        if (errno != EINTR) fail("lock");
}

static void begin(void) {
    pthread_mutex_lock(&threads);
    lock(F_WRLCK);
}

static void end(void) {
    lock(F_UNLCK);
    pthread_mutex_unlock(&threads);
}

static int inside(const char *path) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* The path of an open file, if it is in the folder and still has a name. */
static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path) && (length < 10 || strcmp(path + length - 10, " (deleted)"));
}

/* The absolute path of a name, whose folder must exist, if it is in the folder. */
static int path_at(int at, const char *name, char *path) {
    char whole[PATH_MAX], base[PATH_MAX];
    if (name[0] == '/' || at == AT_FDCWD) {
        snprintf(whole, sizeof whole, "%s", name);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
        if (snprintf(whole, sizeof whole, "%s/%s", base, name) >= (int)sizeof whole) return 0;
    }
    char *slash = strrchr(whole, '/');
    const char *last = slash ? slash + 1 : name;
    if (slash) *slash = 0;
    char *parent = realpath(!slash ? "." : whole[0] ? whole : "/", NULL);
    if (!parent) return 0;
    int fits = snprintf(path, PATH_MAX, "%s/%s", parent, last) < PATH_MAX;
    free(parent);
    return fits && inside(path);
}

static void note(char kind, const char *path, const char *other, uint64_t inode, uint64_t offset, const void *data,
                 uint64_t size) {
    struct record record = {.kind = kind, .path = strlen(path), .other = strlen(other), .inode = inode,
                            .offset = offset, .size = size};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)path, record.path}, {(void *)other, record.other},
                            {(void *)data, data ? size : 0}};
    size_t total = sizeof record + record.path + record.other + (data ? size : 0);
    if (syscall(SYS_writev, log_file, parts, 4) != (ssize_t)total) fail("write");
}

static uint64_t inode_of(int file) {
    struct stat status;
    return fstat(file, &status) ? 0 : status.st_ino;
}

/* Names: created, removed, renamed. */

static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int tracked = recording() && (flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE && path_at(at, name, path);
    if (!tracked) return syscall(SYS_openat, at, name, flags, mode);
    begin();
    int existed = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    int file = syscall(SYS_openat, at, name, flags, mode);
    int error = errno;
    if (file >= 0 && !existed) note('c', path, "", inode_of(file), 0, NULL, 0);
    else if (file >= 0 && (flags & O_TRUNC)) note('t', path, "", inode_of(file), 0, NULL, 0);
    end();
    errno = error;
    return file;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

static int named(char kind, int at, const char *name, long result_of, long a, long b, long c) {
    char path[PATH_MAX];
    if (!recording() || !path_at(at, name, path)) return syscall(result_of, a, b, c);
    begin();
    int result = syscall(result_of, a, b, c), error = errno;
    if (!result) note(kind, path, "", 0, 0, NULL, 0);
    end();
    errno = error;
    return result;
}

int unlink(const char *path) { return named('u', AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, (long)path, 0); }
int rmdir(const char *path) { return named('x', AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, (long)path, AT_REMOVEDIR); }
int unlinkat(int at, const char *path, int flags) {
    return named(flags & AT_REMOVEDIR ? 'x' : 'u', at, path, SYS_unlinkat, at, (long)path, flags);
}
int mkdirat(int at, const char *path, mode_t mode) { return named('d', at, path, SYS_mkdirat, at, (long)path, mode); }
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int renameat(int at, const char *from, int other, const char *to) {
    char path[PATH_MAX], target[PATH_MAX] = "";
    if (!recording() || !path_at(at, from, path) || !path_at(other, to, target))
        return syscall(SYS_renameat2, at, from, other, to, 0);
    begin();
    int result = syscall(SYS_renameat2, at, from, other, to, 0), error = errno;
    if (!result) note('r', path, target, 0, 0, NULL, 0);
    end();
    errno = error;
    return result;
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

/* Content: written, cut, synced. */

static ssize_t written(int file, const struct iovec *parts, int count, off_t offset) {
    char path[PATH_MAX];
    if (!recording() || !path_of(file, path))
        return offset < 0 ? syscall(SYS_writev, file, parts, count) : syscall(SYS_pwritev, file, parts, count, offset, 0);
    begin();
    ssize_t done = offset < 0 ? syscall(SYS_writev, file, parts, count) : syscall(SYS_pwritev, file, parts, count, offset, 0);
    int error = errno;
    uint64_t at = offset < 0 ? (uint64_t)lseek(file, 0, SEEK_CUR) - (done > 0 ? done : 0) : (uint64_t)offset;
    for (ssize_t left = done, part = 0; left > 0 && part < count; part++) {
        size_t size = (size_t)left < parts[part].iov_len ? (size_t)left : parts[part].iov_len;
        note('w', path, "", inode_of(file), at, parts[part].iov_base, size);
        at += size;
        left -= size;
    }
    end();
    errno = error;
    return done;
}

ssize_t write(int file, const void *data, size_t size) {
    struct iovec part = {(void *)data, size};
    return written(file, &part, 1, -1);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    struct iovec part = {(void *)data, size};
    return written(file, &part, 1, offset);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { return pwrite(file, data, size, offset); }
ssize_t writev(int file, const struct iovec *parts, int count) { return written(file, parts, count, -1); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) { return written(file, parts, count, offset); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) { return written(file, parts, count, offset); }

static int changed(char kind, int file, uint64_t offset, long number, long a, long b, long c) {
    char path[PATH_MAX];
    if (!recording() || !path_of(file, path)) return syscall(number, file, a, b, c);
    struct stat status;
    begin();
    int result = syscall(number, file, a, b, c), error = errno;
    if (!result && !fstat(file, &status))
        note(S_ISDIR(status.st_mode) ? 'S' : kind, path, "", status.st_ino, offset, NULL, 0);
    end();
    errno = error;
    return result;
}

int ftruncate(int file, off_t size) { return changed('t', file, size, SYS_ftruncate, size, 0, 0); }
int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }
int fsync(int file) { return changed('s', file, 0, SYS_fsync, 0, 0, 0); }
int fdatasync(int file) { return changed('s', file, 0, SYS_fdatasync, 0, 0, 0); }

/* What the model of the disk does not know: the reader of the log raises an error. */

#define UNKNOWN(file) \
    char path[PATH_MAX]; \
    if (recording() && path_of(file, path)) note('!', path, __func__, 0, 0, NULL, 0)

ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    UNKNOWN(out);
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    UNKNOWN(out);
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    UNKNOWN(out);
    return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
}
int fallocate(int file, int mode, off_t offset, off_t size) {
    UNKNOWN(file);
    return syscall(SYS_fallocate, file, mode, offset, size);
}
