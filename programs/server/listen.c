/* The listening socket; see listen.h. */
#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static sluice_status fail(sluice_error *err, const char *host, int port, const char *why)
{
    err->code = SLUICE_IO;
    snprintf(err->detail, sizeof err->detail, "cannot listen on %s port %d: %s", host, port, why);
    return err->code;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) return -1;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

sluice_status server_listen(const char *host, int *port, int *out, sluice_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char service[16];
    int on = 1;
    snprintf(service, sizeof service, "%d", *port);
    int result = getaddrinfo(host, service, &hints, &found);
    if (result != 0) return fail(err, host, *port, gai_strerror(result));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bound = -1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        bound = bind(fd, found->ai_addr, found->ai_addrlen);
        if (bound == 0) bound = listen(fd, 128);
    }
    int error = errno;
    freeaddrinfo(found);
    if (bound != 0) {
        if (fd >= 0) close(fd);
        return fail(err, host, *port, strerror(error));
    }
    *port = port_of(fd);
    *out = fd;
    return SLUICE_OK;
}
