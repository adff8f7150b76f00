/* FORM RATE FILL: takes blocks of 256 KiB, RATE KiB of them a second by the clock.
 *
 * `leak` keeps each, `steady` frees each before it takes the next, `cache` keeps them for FILL seconds and then frees the
 * oldest for each that it takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (256 << 10)

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    if (count < 4)
        return 64;
    double rate = atof(arguments[2]) * 1024;
    int leaks = strcmp(arguments[1], "leak") == 0;
    /* One place is a program that frees each block before it takes the next. */
    size_t places = 1;
    if (strcmp(arguments[1], "cache") == 0)
        places += rate * atof(arguments[3]) / BLOCK;
    char **kept = calloc(places, sizeof *kept);
    if (kept == NULL)
        return 1;
    puts("ready");
    fflush(stdout);
    double start = now();
    for (size_t taken = 0;;) {
        while (taken * (double)BLOCK < (now() - start) * rate) {
            size_t place = taken % places;
            if (!leaks)
                free(kept[place]);
            kept[place] = malloc(BLOCK);
            if (kept[place] == NULL)
                return 1;
            memset(kept[place], 1, BLOCK);
            taken += 1;
        }
        usleep(1e6 * BLOCK / rate);
    }
}
