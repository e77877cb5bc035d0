#include "status.h"

#include <stdarg.h>
#include <stdio.h>

void mlc_error_write(mlc_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
}
