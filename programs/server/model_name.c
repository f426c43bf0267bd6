/* Which names of models a server answers to. */
#include <string.h>

#include "server/server.h"

bool server_answers_to(const server *s, const char *model)
{
    size_t length = strlen(model);
    if (!strcmp(model, s->name)) return true;
    for (const char *at = s->options.aliases; at && *at;) {
        size_t n = strcspn(at, ",");
        if ((n == length && !memcmp(at, model, n)) || (n == 1 && *at == '*')) return true;
        at += n + (at[n] == ',');
    }
    return false;
}
