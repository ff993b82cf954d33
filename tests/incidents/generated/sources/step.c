/* A step in C: does what the lines of its job file say, one after the other. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); exit(1); }
static int sure(int result, const char *what) { if (result < 0) fail(what); return result; }
static void wait_ms(double ms) { usleep((useconds_t)(ms * 1000)); }
static int is(const char *a, const char *b) { return !strcmp(a, b); }

static void work(int ms) {
  volatile long sum = 0;
  for (long i = 0; i < ms * 400000L; i++) sum += i;
}

static void burn(int ms) { while (clock() / (CLOCKS_PER_SEC / 1000) < ms) work(1); }

static void write_file(const char *path, int kib, int ms) {
  static char block[65536];
  int fd = sure(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), path);
  memset(block, 'a', sizeof block);
  for (int i = 0; i < 16; i++) {
    for (long left = kib * 64L; left > 0; left -= sizeof block)
      sure((int)write(fd, block, left < (long)sizeof block ? left : sizeof block), path);
    wait_ms(ms / 16.0);
  }
  close(fd);
}

static void grow(int mib, int ms) {
  for (int i = 0; i < mib; i++) {
    char *part = malloc(1 << 20);
    if (!part) fail("malloc");
    memset(part, i | 1, 1 << 20);
    wait_ms((double)ms / mib);
  }
}

static struct sockaddr_in local(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

static void ask(int port, int ms) {
  struct sockaddr_in to = local(port);
  struct timeval limit = {ms / 1000, ms % 1000 * 1000};
  char answer[64] = "";
  int fd = sure(socket(AF_INET, SOCK_STREAM, 0), "socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sure(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
  sure((int)write(fd, "get\n", 4), "send");
  sure((int)read(fd, answer, sizeof answer - 1), "receive");
  if (strncmp(answer, "ok", 2)) { fprintf(stderr, "answer: %s\n", answer); exit(1); }
  close(fd);
}

static void listen_at(int port) {
  struct sockaddr_in at = local(port);
  int fd = sure(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sure(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
  sure(listen(fd, 8), "listen");
}

static void run(char **words, int quiet) {
  int status;
  pid_t child = sure(fork(), "fork");
  if (!child) { execvp(words[0], words); if (!quiet) perror(words[0]); _exit(127); }
  waitpid(child, &status, 0);
  if (status) { fprintf(stderr, "%s: status %d\n", words[0], status); exit(1); }
}

static void procs(int count, int ms) {
  char time[32];
  pid_t children[4096];
  snprintf(time, sizeof time, "%d.%03d", ms / 1000, ms % 1000);
  for (int i = 0; i < count; i++) {
    children[i] = sure(fork(), "fork");
    if (!children[i]) { execlp("sleep", "sleep", time, NULL); _exit(127); }
  }
  for (int i = 0; i < count; i++) waitpid(children[i], NULL, 0);
}

static void map_file(const char *path, int ms) {
  struct stat info;
  int fd = sure(open(path, O_RDONLY), path);
  volatile long sum = 0;
  fstat(fd, &info);
  char *view = mmap(NULL, info.st_size, PROT_READ, MAP_SHARED, fd, 0);
  for (long at = 0; at < info.st_size; at += 4096) {
    sum += view[at];
    if (at % (64 * 4096) == 0) wait_ms((double)ms * 64 * 4096 / info.st_size);
  }
  munmap(view, info.st_size);
  close(fd);
}

static void read_file(const char *path, long least) {
  char block[65536];
  long size = 0, got;
  int fd = sure(open(path, O_RDONLY), path);
  while ((got = read(fd, block, sizeof block)) > 0) size += got;
  sure((int)got, path);
  close(fd);
  if (size < least * 1024) { fprintf(stderr, "%s: too short\n", path); exit(1); }
}

static int has_word(const char *path, const char *word) {
  char text[4096] = "";
  FILE *file = fopen(path, "r");
  if (!file) fail(path);
  size_t got = fread(text, 1, sizeof text - 1, file);
  text[got] = 0;
  fclose(file);
  return strstr(text, word) != NULL;
}

static void files(int count, const char *path) {
  int first = 0, last = 0;
  for (int i = 0; i < count; i++) {
    last = sure(open(path, O_RDONLY), path);
    if (!i) first = last;
  }
  for (int fd = first; fd <= last; fd++) close(fd);
}

static void leave(int signal) { (void)signal; _exit(0); }

static void signals(const char *op, const char *a, const char *b) {
  FILE *file;
  long pid = 0;
  if (is(op, "polite")) { signal(SIGTERM, leave); return; }
  if (is(op, "deaf")) { signal(SIGTERM, SIG_IGN); return; }
  if (!(file = fopen(a, "r")) || fscanf(file, "%ld", &pid) != 1) fail(a);
  fclose(file);
  sure(kill((pid_t)pid, atoi(b)), "kill");
}

static void paths(const char *op, const char *a, const char *b) {
  char name[4200];
  if (is(op, "mkdir")) sure(mkdir(a, 0755), a);
  if (is(op, "create")) close(sure(open(a, O_CREAT | O_EXCL | O_WRONLY, 0644), a));
  if (is(op, "remove")) sure(unlink(a), a);
  if (is(op, "lock")) sure(flock(sure(open(a, O_CREAT | O_WRONLY, 0644), a), LOCK_EX | LOCK_NB), a);
  if (is(op, "sprinkle"))
    for (int i = 0; i < atoi(b); i++) {
      snprintf(name, sizeof name, "%s/part-%d", a, i);
      close(sure(open(name, O_CREAT | O_WRONLY, 0644), name));
    }
  if (is(op, "once") && access(a, F_OK)) {
    close(sure(open(a, O_CREAT | O_WRONLY, 0644), a));
    fputs("not yet\n", stderr);
    exit(1);
  }
}

static void step(char **w) {
  const char *op = w[0], *a = w[1], *b = w[2], *c = w[3];
  if (is(op, "note")) {
    char own[32] = "";
    FILE *file = fopen(a, "w");
    sure((int)readlink("/proc/self", own, sizeof own - 1), "/proc/self");
    if (!file) fail(a);
    fputs(own, file);
    fclose(file);
  } else if (is(op, "work")) work(atoi(a));
  else if (is(op, "burn")) burn(atoi(a));
  else if (is(op, "idle")) wait_ms(atoi(a));
  else if (is(op, "read") || is(op, "fifo")) read_file(a, b ? atoi(b) : 0);
  else if (is(op, "write")) write_file(a, atoi(b), atoi(c));
  else if (is(op, "grow")) grow(atoi(a), atoi(b));
  else if (is(op, "ask")) ask(atoi(a), atoi(b));
  else if (is(op, "listen")) listen_at(atoi(a));
  else if (is(op, "run")) run(w + 1, 0);
  else if (is(op, "procs")) procs(atoi(a), atoi(b));
  else if (is(op, "files")) files(atoi(a), b);
  else if (is(op, "map")) map_file(a, atoi(b));
  else if (is(op, "exit")) { fputs("stop\n", stderr); exit(atoi(a)); }
  else if (is(op, "crash")) { if (is(a, "segv")) *(volatile int *)8 = 1; if (is(a, "fpe")) { volatile int zero = 0, rows = 7; exit(rows / zero); } abort(); }
  else if (is(op, "check")) { if (has_word(a, b)) { fprintf(stderr, "%s: %s\n", a, b); exit(1); } }
  else if (is(op, "say")) for (int i = 0; i < atoi(a) * 73; i++) { puts("17,4,abcdefgh"); fflush(stdout); }
  else if (is(op, "kill") || is(op, "polite") || is(op, "deaf")) signals(op, a, b);
  else paths(op, a, b);
}

int main(int argc, char **argv) {
  static char lines[256][4200];
  int count = 0;
  FILE *jobs = fopen(argv[argc - 1], "r");
  if (!jobs) fail(argv[argc - 1]);
  while (count < 256 && fgets(lines[count], sizeof lines[0], jobs)) count++;
  fclose(jobs);
  for (int i = 0; i < count; i++) {
    char *words[64] = {0};
    int n = 0;
    for (char *w = strtok(lines[i], " \n"); w && n < 63; w = strtok(NULL, " \n")) words[n++] = w;
    if (n) step(words);
  }
  return 0;
}
