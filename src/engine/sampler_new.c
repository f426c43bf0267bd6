/* Samplers of an engine: apart from sampler.c, which knows vocabularies but no engines. */
#include "engine/engine.h"

sluice_status sluice_engine_sampler_new(sluice_engine *engine, sluice_sampler **out,
                                        sluice_error *err)
{
    return sluice_sampler_new(engine->info.vocab, engine->budget, out, err);
}
