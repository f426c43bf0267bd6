/* Deadlines of connections; see deadline.h. */
#include "server/deadline.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct server_deadline {
    server_deadline *next, *previous;
    int socket;
    time_t since; /* of the client's turn; 0: ours */
    const char *late;
    bool spoke; /* it has sent a first line */
    bool told;  /* its connection is over, and nobody's turn any more */
};

struct server_deadlines {
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    pthread_t thread;
    server_deadline *first;
    atomic_ullong *counter;
    int seconds;
    bool stopping;
};

/* What a client that was told may take to read it and close the connection. */
enum { TOLD_SECONDS = 2 };

static time_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + 1; /* never 0 */
}

/* Closed for sending first: what the client still sends must not discard what it is told. */
static void tell(server_deadlines *d, server_deadline *at, const char *response)
{
    if (send(at->socket, response, strlen(response), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        atomic_fetch_add(d->counter, 1);
    shutdown(at->socket, SHUT_WR);
    at->told = true;
    at->since = now();
}

static void look(server_deadlines *d, server_deadline *at)
{
    if (!at->since || now() - at->since <= (at->told ? TOLD_SECONDS : d->seconds)) return;
    if (at->late && !at->told)
        tell(d, at, at->late);
    else
        shutdown(at->socket, SHUT_RDWR);
}

static void *watch(void *context)
{
    server_deadlines *d = context;
    pthread_mutex_lock(&d->mutex);
    while (!d->stopping) {
        struct timespec wake;
        clock_gettime(CLOCK_MONOTONIC, &wake);
        wake.tv_sec += 1;
        pthread_cond_timedwait(&d->stopped, &d->mutex, &wake);
        for (server_deadline *at = d->first; at; at = at->next)
            look(d, at);
    }
    pthread_mutex_unlock(&d->mutex);
    return NULL;
}

sluice_status server_deadlines_new(int seconds, atomic_ullong *told, server_deadlines **out,
                                   sluice_error *err)
{
    server_deadlines *d = calloc(1, sizeof *d);
    pthread_condattr_t attributes;
    if (d) {
        d->seconds = seconds;
        d->counter = told;
        pthread_mutex_init(&d->mutex, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&d->stopped, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    if (!d || pthread_create(&d->thread, NULL, watch, d) != 0) {
        free(d);
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory or no thread to watch connections"};
        return err->code;
    }
    *out = d;
    return SLUICE_OK;
}

void server_deadlines_free(server_deadlines *d)
{
    if (!d) return;
    pthread_mutex_lock(&d->mutex);
    d->stopping = true;
    pthread_cond_signal(&d->stopped);
    pthread_mutex_unlock(&d->mutex);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->stopped);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

server_deadline *server_deadline_begin(server_deadlines *d, int socket)
{
    server_deadline *deadline = calloc(1, sizeof *deadline);
    if (!deadline) return NULL;
    deadline->socket = socket;
    deadline->since = now();
    pthread_mutex_lock(&d->mutex);
    deadline->next = d->first;
    if (d->first) d->first->previous = deadline;
    d->first = deadline;
    pthread_mutex_unlock(&d->mutex);
    return deadline;
}

void server_deadline_end(server_deadlines *d, server_deadline *deadline)
{
    if (!deadline) return;
    pthread_mutex_lock(&d->mutex);
    if (deadline->previous)
        deadline->previous->next = deadline->next;
    else
        d->first = deadline->next;
    if (deadline->next) deadline->next->previous = deadline->previous;
    pthread_mutex_unlock(&d->mutex);
    free(deadline);
}

static void set(server_deadlines *d, server_deadline *deadline, time_t since, const char *late)
{
    if (!deadline) return;
    pthread_mutex_lock(&d->mutex);
    if (!deadline->told) {
        deadline->since = since;
        deadline->late = late;
    }
    pthread_mutex_unlock(&d->mutex);
}

void server_deadline_spoke(server_deadlines *d, server_deadline *deadline)
{
    if (!deadline) return;
    pthread_mutex_lock(&d->mutex);
    deadline->spoke = true;
    pthread_mutex_unlock(&d->mutex);
}

/* NULL: none, or several. */
static server_deadline *only_silent(const server_deadlines *d)
{
    server_deadline *found = NULL;
    for (server_deadline *at = d->first; at; at = at->next) {
        if (at->spoke) continue;
        if (found) return NULL;
        found = at;
    }
    return found;
}

void server_deadline_refuse(server_deadlines *d, server_deadline *deadline, const char *response)
{
    char rest[4096];
    pthread_mutex_lock(&d->mutex);
    if (!deadline) deadline = only_silent(d);
    if (deadline && !deadline->told) tell(d, deadline, response);
    pthread_mutex_unlock(&d->mutex);
    if (!deadline) return;
    /* The watching thread ends this too: it shuts down who was told and stays. */
    struct pollfd more = {.fd = deadline->socket, .events = POLLIN};
    while (poll(&more, 1, (TOLD_SECONDS + 2) * 1000) > 0 &&
           recv(deadline->socket, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
}

void server_deadline_sends(server_deadlines *d, server_deadline *deadline, const char *late)
{
    set(d, deadline, now(), late);
}

void server_deadline_takes(server_deadlines *d, server_deadline *deadline)
{
    set(d, deadline, now(), NULL);
}

void server_deadline_ours(server_deadlines *d, server_deadline *deadline)
{
    set(d, deadline, 0, NULL);
}
