/* Reading the members of a JSON object strictly: each reader leaves *out alone where the member is
 * absent or null, and sets the error where it is of the wrong type or out of range. Members that no
 * one asked for are refused by name, so that nothing in a request is silently ignored. */
#ifndef SLUICE_PROGRAMS_SERVER_FIELDS_H
#define SLUICE_PROGRAMS_SERVER_FIELDS_H

#include <stdint.h>

#include "server/error.h"

typedef struct server_fields {
    json_t *object;   /* borrowed */
    const char *path; /* "", or the object's own place, such as "response_format" */
    server_error *err;
} server_fields;

/* Fields of value, which must be an object. */
server_fields server_fields_of(json_t *value, const char *path, server_error *err);

/* The member, or NULL if it is absent or null. */
json_t *server_field(const server_fields *fields, const char *name);

void server_field_number(const server_fields *fields, const char *name, double min, double max,
                         double *out);
void server_field_integer(const server_fields *fields, const char *name, int64_t min, int64_t max,
                          int64_t *out);
void server_field_bool(const server_fields *fields, const char *name, bool *out);
void server_field_string(const server_fields *fields, const char *name, const char **out);
json_t *server_field_array(const server_fields *fields, const char *name);
json_t *server_field_object(const server_fields *fields, const char *name);

/* Refuses every member that is in neither list. Both end with NULL; more may be NULL. */
void server_fields_only(const server_fields *fields, const char *const *names,
                        const char *const *more);

/* Refuses the member unless it is absent, null or equal to value (which is released): options that
 * are known, and of which only one setting is supported. */
void server_field_only_value(const server_fields *fields, const char *name, json_t *value);

/* An error about a member; always false. */
bool server_field_refuse(const server_fields *fields, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
