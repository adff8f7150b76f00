/* The floor for watching a process: one held descriptor, one pread and one line of output for each sample.
 *
 * loop PID INTERVAL_MS SECONDS FILE: reads /proc/PID/statm at absolute deadlines and writes "milliseconds bytes" lines to FILE.
 * Prints the number of samples. It knows no levels, no verdict and no other target: what the task costs without them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long milliseconds(struct timespec t) { return t.tv_sec * 1000LL + t.tv_nsec / 1000000; }

int main(int argc, char **argv) {
    if (argc != 5) return 64;
    long interval = atol(argv[2]), page = sysconf(_SC_PAGESIZE), samples = 0;
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%ld/statm", atol(argv[1]));
    int statm = open(path, O_RDONLY | O_CLOEXEC);
    FILE *out = fopen(argv[4], "w");
    if (statm < 0 || !out || interval <= 0) return 66;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    long long end = milliseconds(next) + atol(argv[3]) * 1000LL;
    while (milliseconds(next) < end) {
        ssize_t length = pread(statm, text, sizeof text - 1, 0);
        long long resident;
        if (length <= 0) break;
        text[length] = 0;
        if (sscanf(text, "%*d %lld", &resident) != 1) break;
        fprintf(out, "%lld %lld\n", milliseconds(next), resident * page);
        samples++;
        next.tv_nsec += interval * 1000000L;
        while (next.tv_nsec >= 1000000000L) next.tv_nsec -= 1000000000L, next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    fclose(out);
    printf("%ld\n", samples);
    return 0;
}
