/* The header in C++. */
#include <cstdio>

#include <dmq/dmq.h>

int
main()
{
    std::printf("%s %s\n", dmq_version(), dmq_error_name(DMQ_ERR_NOT_LEADER));
    return 0;
}
