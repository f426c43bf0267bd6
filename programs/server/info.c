/* What the server is: /health, /v1/models. */
#include <string.h>

#include "server/routes.h"
#include "server/scheduler.h"
#include "server/settings.h"

void server_health(server_request *request)
{
    server_scheduler_state state;
    server_scheduler_look(server_request_server(request)->scheduler, &state);
    server_answer_json(request, state.draining ? 503 : 200,
                       json_pack("{s:s, s:i, s:i}", "status", state.draining ? "draining" : "ok",
                                 "active", state.active, "queued", state.queued));
}

static json_t *describe(const server *s)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:i, s:s, s:s, s:o}", "id", s->name, "object",
                     "model", "created", (json_int_t)s->started, "owned_by", "sluice",
                     "max_model_len", s->info->context, "vocab_size", s->info->vocab, "type",
                     "model", "display_name", s->name, "settings", server_settings_json(s));
}

void server_models(server_request *request)
{
    const server *s = server_request_server(request);
    server_answer_json(request, 200,
                       json_pack("{s:s, s:[o], s:b, s:s, s:s}", "object", "list", "data",
                                 describe(s), "has_more", 0, "first_id", s->name, "last_id",
                                 s->name));
}

void server_model(server_request *request)
{
    const server *s = server_request_server(request);
    const char *name = server_request_path(request) + strlen("/v1/models/");
    if (server_answers_to(s, name)) {
        server_answer_json(request, 200, describe(s));
        return;
    }
    server_error_set(server_request_error(request), 404, "model_not_found", NULL,
                     "there is no model '%.100s' here; this server has '%s'", name, s->name);
    server_answer_error(request);
}
