#include "status.h"

#include <stdarg.h>
#include <stdio.h>

mlc_status mlc_fail(mlc_error *error, mlc_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return status;
}
