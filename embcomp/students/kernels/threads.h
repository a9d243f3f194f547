// Threads that share the clips of a batch: part(number, first, last) for each.

#pragma once

#include <pthread.h>
#include "lanes.h"

template <typename Part>
struct Share {
    const Part *part;
    long number, first, last;
    static void *run(void *share) {
        Share *own = (Share *)share;
        (*own->part)(own->number, own->first, own->last);
        return 0;
    }
};

template <typename Part>
static void share(long threads, long clips, const Part &part) {
    Scratch<Share<Part>> shares(threads);
    Scratch<pthread_t> ids(threads);
    Scratch<char> running(threads);
    for (long number = threads - 1; number >= 0; number--) {
        shares[number] = {&part, number, clips * number / threads, clips * (number + 1) / threads};
        running[number] = number && !pthread_create(&ids[number], 0, Share<Part>::run, &shares[number]);
        if (!running[number]) Share<Part>::run(&shares[number]);
    }
    for (long number = 1; number < threads; number++)
        if (running[number]) pthread_join(ids[number], 0);
}
