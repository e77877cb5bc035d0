/* How much memory this process can still have. */
#ifndef MLC_MEMORY_H
#define MLC_MEMORY_H

#include <stddef.h>

/* The least of what the machine has free, what the control group leaves and what RLIMIT_AS leaves;
 * SIZE_MAX where nothing says. */
size_t mlc_memory_available(void);

/* "812 MB", "20.3 GB" into a buffer of at least 32 bytes, which is returned. */
char *mlc_memory_text(size_t bytes, char *text);

#endif
