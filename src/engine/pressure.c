/* Giving memory back when the machine needs it (see pressure.h). */
#include "engine/pressure.h"

#include "base/clock.h"

/* Kept free: a thirty-second of what we may use, at most 256 MiB. Opening leaves a tenth or 512 MiB
 * (engine/sizes.c), so that only others can bring it about. */
#define RESERVE_SHARE 32
#define RESERVE_MAX ((uint64_t)256 << 20)

int64_t sluice_pressure_wish(const sluice_memory_limit *limit)
{
    uint64_t whole = limit->total_bytes;
    if (limit->group_bytes && limit->group_bytes < whole) whole = limit->group_bytes;
    uint64_t reserve = whole / RESERVE_SHARE < RESERVE_MAX ? whole / RESERVE_SHARE : RESERVE_MAX;
    if (limit->usable_bytes < reserve) return (int64_t)(2 * reserve - limit->usable_bytes);
    if (limit->usable_bytes > 4 * reserve) return -(int64_t)(limit->usable_bytes - 4 * reserve);
    return 0;
}

static void resize(const sluice_pressure *pressure, sluice_experts *experts, int64_t wish)
{
    int64_t now = sluice_experts_slots_now(experts), record = (int64_t)pressure->record_bytes;
    /* Up to a whole record more is given back, and one less taken. */
    int64_t slots = wish > 0 ? now - (wish + record - 1) / record : now - wish / record;
    if (slots < pressure->slots_min) slots = pressure->slots_min;
    if (slots > sluice_experts_slots(experts)) slots = sluice_experts_slots(experts);
    /* Slots that were taken back and have no record yet count as free in the system's eyes. */
    if (slots > now && !sluice_experts_full(experts)) return;
    if (slots != now) sluice_experts_resize(experts, (int32_t)slots);
}

void sluice_pressure_check(sluice_pressure *pressure, sluice_experts *experts)
{
    sluice_memory_limit limit;
    uint64_t now = sluice_clock_us();
    if (now < pressure->next_us) return;
    pressure->next_us = now + pressure->interval_us;
    if (sluice_memory_limit_get(pressure->root, &limit, NULL) != SLUICE_OK) return;
    int64_t wish = sluice_pressure_wish(&limit);
    if (wish) resize(pressure, experts, wish);
}
