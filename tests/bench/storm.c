/* Load for the benches. Usage: storm fork COUNT | exec COUNT | open COUNT PATH | rate PER_SECOND SECONDS | idle COUNT.
 * Prints the nanoseconds it took; `idle` waits for a line on stdin with COUNT children alive. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
