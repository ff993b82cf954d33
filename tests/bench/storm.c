/* Load for the benches. Usage: storm fork COUNT | exec COUNT | open COUNT PATH | rate PER_SECOND SECONDS | idle COUNT |
 * meta COUNT DIR | blocks COUNT PATH BYTES | requests COUNT.
 * Prints the nanoseconds it took; `idle` waits for a line on stdin with COUNT children alive. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void lifecycle(int exec)
{
	pid_t pid = vfork();

	if (!pid) {
		if (exec)
			execl("/bin/true", "true", (char *)0);
		_exit(0);
	}
	waitpid(pid, 0, 0);
}

/* Files made, renamed, looked at, and removed. */
static void meta(long count, const char *dir)
{
	char from[4096], to[4096];
	long i;

	for (i = 0; i < count; i++) {
		snprintf(from, sizeof(from), "%s/%ld.tmp", dir, i);
		snprintf(to, sizeof(to), "%s/%ld", dir, i);
		close(open(from, O_WRONLY | O_CREAT, 0600));
		rename(from, to);
		close(open(to, O_RDONLY));
		unlink(to);
	}
}

/* A file written and read again, block by block. */
static void blocks(long count, const char *path, long bytes)
{
	char *data = calloc(1, bytes);
	int f = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	long i;

	for (i = 0; i < count; i++)
		if (write(f, data, bytes) != bytes)
			_exit(1);
	lseek(f, 0, SEEK_SET);
	for (i = 0; i < count; i++)
		if (read(f, data, bytes) != bytes)
			_exit(1);
	close(f);
	unlink(path);
	free(data);
}

/* One-byte requests and answers over loopback, 50 to a connection. */
static void requests(long count)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int s = socket(AF_INET, SOCK_STREAM, 0), c, one = 1;
	char byte = 'x';
	pid_t server;
	long i;

	if (bind(s, (void *)&at, sizeof(at)) || listen(s, 16) || getsockname(s, (void *)&at, &length))
		_exit(1);
	server = fork();
	if (!server) {
		for (;;) {
			c = accept(s, 0, 0);
			while (read(c, &byte, 1) == 1)
				if (write(c, &byte, 1) != 1)
					break;
			close(c);
		}
	}
	for (i = 0; i < count; i++) {
		if (i % 50 == 0) {
			if (i)
				close(c);
			c = socket(AF_INET, SOCK_STREAM, 0);
			if (connect(c, (void *)&at, sizeof(at)))
				_exit(1);
			setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		}
		if (write(c, &byte, 1) != 1 || read(c, &byte, 1) != 1)
			_exit(1);
	}
	kill(server, SIGKILL);
	waitpid(server, 0, 0);
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[2]) : 0, i;
	long long start = now();

	if (!strcmp(argv[1], "fork") || !strcmp(argv[1], "exec")) {
		for (i = 0; i < count; i++)
			lifecycle(argv[1][0] == 'e');
	} else if (!strcmp(argv[1], "open")) {
		for (i = 0; i < count; i++)
			close(open(argv[3], O_RDONLY));
	} else if (!strcmp(argv[1], "meta")) {
		meta(count, argv[3]);
	} else if (!strcmp(argv[1], "blocks")) {
		blocks(count, argv[3], atol(argv[4]));
	} else if (!strcmp(argv[1], "requests")) {
		requests(count);
	} else if (!strcmp(argv[1], "rate")) {
		long long end = start + atol(argv[3]) * 1000000000LL, done = 0;

		while (now() < end) {
			if (done * 1000000000LL / count > now() - start) {
				usleep(2000);
				continue;
			}
			lifecycle(0);
			done++;
		}
		printf("%lld ", done);
	} else if (!strcmp(argv[1], "idle")) {
		pid_t *pids = calloc(count, sizeof(*pids));

		for (i = 0; i < count; i++)
			if (!(pids[i] = fork()))
				for (;;)
					pause();
		puts("ready");
		fflush(stdout);
		getchar();
		for (i = 0; i < count; i++) {
			kill(pids[i], 9);
			waitpid(pids[i], 0, 0);
		}
	}
	printf("%lld\n", now() - start);
	return 0;
}
