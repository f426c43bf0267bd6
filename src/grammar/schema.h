/* JSON schemas as automata. */
#ifndef SLUICE_GRAMMAR_SCHEMA_H
#define SLUICE_GRAMMAR_SCHEMA_H

#include "grammar/json_rules.h"
#include "tokenizer/json_value.h"
#include "tokenizer/text_buffer.h"

typedef struct sluice_schema_reference sluice_schema_reference;

/* What building from one document needs. */
typedef struct sluice_schema_builder {
    sluice_automaton *a;
    sluice_json_rules *json;
    const sluice_json_value *root; /* what "#" refers to */
    const char *what;              /* "the schema", for errors */
    sluice_text_buffer path;       /* of the schema at hand: a JSON pointer */
    size_t root_path;              /* bytes of path that lead to root */
    unsigned depth;
    sluice_schema_reference *references; /* that have a rule */
    sluice_error *err;
} sluice_schema_builder;

/* json says in what surroundings: white space, and whether within a tool call. path leads to root
 * from what errors call what. */
void sluice_schema_begin(sluice_schema_builder *b, sluice_json_rules *json,
                         const sluice_json_value *root, const char *what, const char *path,
                         sluice_error *err);
void sluice_schema_end(sluice_schema_builder *b);

/* How a value is written: as JSON, or as the text of a parameter, where strings have no quotes. */
typedef enum sluice_schema_form { SLUICE_SCHEMA_JSON, SLUICE_SCHEMA_TEXT } sluice_schema_form;

/* Builds a value by a schema; *to receives the state behind. */
sluice_status sluice_schema_build(sluice_schema_builder *b, const sluice_json_value *schema,
                                  sluice_schema_form form, uint32_t from, uint32_t *to);

/* ---- for the files that build parts of it ---- */

/* Fails with "WHAT at PATH: sentence". */
__attribute__((format(printf, 3, 4))) sluice_status
sluice_schema_refuse(sluice_schema_builder *b, sluice_status code, const char *format, ...);

/* Goes into a member of the schema at hand and one of that: returns what leave needs. Either may be
 * NULL. */
size_t sluice_schema_enter(sluice_schema_builder *b, const char *keyword, const char *name,
                           size_t name_length);
void sluice_schema_leave(sluice_schema_builder *b, size_t mark);

/* What a "$ref" points to (schema_reference.c). */
sluice_status sluice_schema_resolve(sluice_schema_builder *b, const sluice_json_value *reference,
                                    const sluice_json_value **target);

/* The same, built as a rule and called. */
sluice_status sluice_schema_reference_build(sluice_schema_builder *b,
                                            const sluice_json_value *reference,
                                            sluice_schema_form form, uint32_t from, uint32_t to);

sluice_status sluice_schema_string(sluice_schema_builder *b, const sluice_json_value *schema,
                                   sluice_schema_form form, uint32_t from, uint32_t *to);
sluice_status sluice_schema_number(sluice_schema_builder *b, const sluice_json_value *schema,
                                   bool integer, uint32_t from, uint32_t *to);
sluice_status sluice_schema_array(sluice_schema_builder *b, const sluice_json_value *schema,
                                  uint32_t from, uint32_t *to);
sluice_status sluice_schema_object(sluice_schema_builder *b, const sluice_json_value *schema,
                                   uint32_t from, uint32_t *to);
/* The parts of an allOf as one object. */
sluice_status sluice_schema_all(sluice_schema_builder *b, const sluice_json_value *schema,
                                uint32_t from, uint32_t *to);

/* A member that is a count; fallback if there is none. */
sluice_status sluice_schema_count(sluice_schema_builder *b, const sluice_json_value *schema,
                                  const char *keyword, uint32_t fallback, uint32_t *count);

#endif
