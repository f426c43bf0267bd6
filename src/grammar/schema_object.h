/* What an object's schema says, taken together from one schema or from the parts of an allOf. */
#ifndef SLUICE_GRAMMAR_SCHEMA_OBJECT_H
#define SLUICE_GRAMMAR_SCHEMA_OBJECT_H

#include "grammar/schema.h"

typedef struct sluice_schema_property {
    const char *name;
    size_t length;
    const sluice_json_value *schema; /* NULL: any value */
    bool required;
    char *path; /* where the schema stands, as a JSON pointer; owned */
} sluice_schema_property;

/* Zero-initialise. */
typedef struct sluice_schema_members {
    sluice_schema_property *properties; /* in the order in which they are written */
    size_t count, capacity;
    const sluice_json_value *additional; /* schema of other properties, or NULL */
    bool open;                           /* other properties may come */
    bool is_given;                       /* additionalProperties is there */
} sluice_schema_members;

void sluice_schema_members_free(sluice_schema_members *members);

/* Adds what properties, required and additionalProperties of one schema say. */
sluice_status sluice_schema_members_read(sluice_schema_builder *b, const sluice_json_value *schema,
                                         sluice_schema_members *members);
/* Adds "required", once all properties are known; names that are no property become one. */
sluice_status sluice_schema_members_require(sluice_schema_builder *b,
                                            const sluice_json_value *schema,
                                            sluice_schema_members *members);

/* Builds the object. */
sluice_status sluice_schema_members_build(sluice_schema_builder *b,
                                          const sluice_schema_members *members, uint32_t from,
                                          uint32_t *to);

/* Builds the schema of a property, its path being that of the property. */
sluice_status sluice_schema_property_build(sluice_schema_builder *b,
                                           const sluice_schema_property *property,
                                           sluice_schema_form form, uint32_t from, uint32_t *to);

/* Any key in quotes but those of the properties (schema_key.c). */
uint32_t sluice_schema_key_build(sluice_schema_builder *b, const sluice_schema_members *members,
                                 uint32_t from);

#endif
