/* SPDX-License-Identifier: BSD-3-Clause
 *
 * taxonomy.c: see taxonomy.h. */
#include "pairs/taxonomy.h"

#include "refuse.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum relation relation_join(enum relation a, enum relation b)
{
    if (a == EXCLUDES || b == EXCLUDES) return EXCLUDES;
    if (a == EQUAL || a == b) return b;
    return b == EQUAL ? a : OTHER;
}

/* ---- Nouns ---- */

/* Two roots that the lexicon has no word for. */
static const struct noun building = {"building", "buildings", "bâtiment", "bâtiments", false, PLACE};
static const struct noun organisation = {"organisation", "organisations", "organisation", "organisations", true, GROUP};

static const struct {
    const char *noun, *above;
    unsigned kind;
} rows[] = {
    {"person", NULL, PERSON},
    {"man", "person", PERSON},
    {"woman", "person", PERSON},
    {"king", "man", PERSON},
    {"queen", "woman", PERSON},
    {"worker", "person", PERSON},
    {"farmer", "worker", PERSON},
    {"engineer", "worker", PERSON},
    {"nurse", "worker", PERSON},
    {"teacher", "worker", PERSON},
    {"minister", "person", PERSON},
    {"president", "person", PERSON},
    {"mayor", "person", PERSON},
    {"judge", "person", PERSON},
    {"singer", "person", PERSON},
    {"organisation", NULL, GROUP},
    {"company", "organisation", GROUP},
    {"bank", "company", GROUP},
    {"government", "organisation", GROUP},
    {"council", "organisation", GROUP},
    {"parliament", "organisation", GROUP},
    {"association", "organisation", GROUP},
    {"army", "organisation", GROUP},
    {"document", NULL, PAPER},
    {"letter", "document", PAPER},
    {"agreement", "document", PAPER},
    {"treaty", "agreement", PAPER},
    {"law", "document", PAPER},
    {"book", "document", PAPER},
    {"newspaper", "document", PAPER},
    {"building", NULL, PLACE},
    {"school", "building", PLACE},
    {"hospital", "building", PLACE},
    {"house", "building", PLACE},
    {"hotel", "building", PLACE},
    {"church", "building", PLACE},
};

static struct concept concepts[COUNT(rows)];

static int row_named(const char *english)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (strcmp(rows[i].noun, english) == 0) return (int)i;
    }
    give_up("the taxonomy has no \"%s\"", english);
}

static void fill(void)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *name = rows[i].noun;
        concepts[i].noun = strcmp(name, "building") == 0       ? &building
                           : strcmp(name, "organisation") == 0 ? &organisation
                                                               : find_noun(name);
        concepts[i].above = rows[i].above == NULL ? -1 : row_named(rows[i].above);
        concepts[i].kind = rows[i].kind;
    }
}

static void ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}

int concept_count(void)
{
    return (int)COUNT(rows);
}

const struct concept *concept_at(int index)
{
    ready();
    return &concepts[index];
}

int concept_named(const char *english)
{
    return row_named(english);
}

int concept_root(unsigned kind)
{
    return row_named(kind == PERSON  ? "person"
                     : kind == GROUP ? "organisation"
                     : kind == PAPER ? "document"
                                     : "building");
}

/* Whether what is below is of the kind of what is above. */
static bool implies(int below, int above)
{
    for (; below >= 0; below = concept_at(below)->above) {
        if (below == above) return true;
    }
    return false;
}

enum relation concept_relation(int a, int b)
{
    if (a == b) return EQUAL;
    if (concept_at(a)->kind != concept_at(b)->kind) return EXCLUDES;
    if (implies(a, b)) return NARROWER;
    if (implies(b, a)) return WIDER;
    const int man = row_named("man"), woman = row_named("woman");
    return (implies(a, man) && implies(b, woman)) || (implies(a, woman) && implies(b, man)) ? EXCLUDES : OTHER;
}

/* ---- Adjectives and verbs ---- */

static bool among(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(*words, word) == 0) return true;
    }
    return false;
}

static const char *const nationalities[] = {"French", "German", "Italian", "Hungarian", NULL};

enum relation adjective_relation(const struct adjective *a, const struct adjective *b)
{
    static const char *const apart[][3] = {
        {"small", "big", NULL}, {"new", "old", NULL}, {"red", "white", NULL}, {"national", "international", NULL}};
    if (a == b) return EQUAL;
    if (among(a->english, nationalities)) {
        if (strcmp(b->english, "European") == 0) return NARROWER;
        if (among(b->english, nationalities)) return EXCLUDES;
    }
    if (among(b->english, nationalities) && strcmp(a->english, "European") == 0) return WIDER;
    for (size_t i = 0; i < COUNT(apart); i++) {
        if (among(a->english, apart[i]) && among(b->english, apart[i])) return EXCLUDES;
    }
    return OTHER;
}

static const char *const opposites[][2] = {
    {"buy", "sell"}, {"adopt", "reject"}, {"find", "forget"}, {"arrive", "leave"}, {"help", "criticise"}};

const struct verb *verb_opposite(const struct verb *verb)
{
    for (size_t i = 0; i < COUNT(opposites); i++) {
        if (strcmp(verb->english, opposites[i][0]) == 0) return find_verb(opposites[i][1]);
        if (strcmp(verb->english, opposites[i][1]) == 0) return find_verb(opposites[i][0]);
    }
    return NULL;
}

enum relation verb_relation(const struct verb *a, const struct verb *b)
{
    return a == b ? EQUAL : verb_opposite(a) == b ? EXCLUDES : OTHER;
}

/* ---- Places ---- */

const struct name *place_country(const struct name *city)
{
    static const char *const in[][2] = {
        {"Paris", "France"}, {"Rome", "Italy"}, {"Brussels", "Belgium"}, {"Athens", "Greece"}, {"Lisbon", "Portugal"}};
    for (size_t i = 0; i < COUNT(in); i++) {
        if (strcmp(city->english[0], in[i][0]) != 0) continue;
        for (int k = 0; k < country_count; k++) {
            if (strcmp(countries[k].english[0], in[i][1]) == 0) return &countries[k];
        }
    }
    return NULL;
}

enum relation place_relation(const struct name *a, const struct name *b)
{
    if (a == b) return EQUAL;
    if (place_country(a) == b) return NARROWER;
    return place_country(b) == a ? WIDER : EXCLUDES;
}
