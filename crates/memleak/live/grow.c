/* Keeps 256 KiB each half second (`leak`), or frees each before it takes the next (`steady`). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int keeps = count > 1 && strcmp(arguments[1], "leak") == 0;
    for (;;) {
        char *block = malloc(256 << 10);
        if (block == NULL)
            return 1;
        memset(block, 1, 256 << 10);
        /* The compiler may not drop a block that is written and never read. */
        *(volatile char *)block = 2;
        if (!keeps)
            free(block);
        usleep(500 * 1000);
    }
}
