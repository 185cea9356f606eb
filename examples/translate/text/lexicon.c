/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lexicon.c: nouns, adjectives, names and numbers; see lexicon.h. */
#include "text/lexicon.h"

#include "refuse.h"

#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

const struct noun nouns[] = {
    {"minister", "ministers", "ministre", "ministres", false, PERSON},
    {"president", "presidents", "président", "présidents", false, PERSON},
    {"worker", "workers", "travailleur", "travailleurs", false, PERSON},
    {"farmer", "farmers", "agriculteur", "agriculteurs", false, PERSON},
    {"teacher", "teachers", "professeur", "professeurs", false, PERSON},
    {"citizen", "citizens", "citoyen", "citoyens", false, PERSON},
    {"woman", "women", "femme", "femmes", true, PERSON},
    {"man", "men", "homme", "hommes", false, PERSON},
    {"child", "children", "enfant", "enfants", false, PERSON},
    {"queen", "queens", "reine", "reines", true, PERSON},
    {"king", "kings", "roi", "rois", false, PERSON},
    {"hero", "heroes", "héros", "héros", false, PERSON},
    {"ambassador", "ambassadors", "ambassadeur", "ambassadeurs", false, PERSON},
    {"mayor", "mayors", "maire", "maires", false, PERSON},
    {"judge", "judges", "juge", "juges", false, PERSON},
    {"victim", "victims", "victime", "victimes", true, PERSON},
    {"person", "people", "personne", "personnes", true, PERSON},
    {"student", "students", "étudiant", "étudiants", false, PERSON},
    {"inhabitant", "inhabitants", "habitant", "habitants", false, PERSON},
    {"engineer", "engineers", "ingénieur", "ingénieurs", false, PERSON},
    {"nurse", "nurses", "infirmière", "infirmières", true, PERSON},
    {"singer", "singers", "chanteuse", "chanteuses", true, PERSON},
    {"government", "governments", "gouvernement", "gouvernements", false, GROUP},
    {"commission", "commissions", "commission", "commissions", true, GROUP},
    {"council", "councils", "conseil", "conseils", false, GROUP},
    {"bank", "banks", "banque", "banques", true, GROUP | PLACE},
    {"parliament", "parliaments", "parlement", "parlements", false, GROUP},
    {"company", "companies", "entreprise", "entreprises", true, GROUP},
    {"committee", "committees", "comité", "comités", false, GROUP},
    {"court", "courts", "tribunal", "tribunaux", false, GROUP | PLACE},
    {"association", "associations", "association", "associations", true, GROUP},
    {"army", "armies", "armée", "armées", true, GROUP},
    {"embassy", "embassies", "ambassade", "ambassades", true, GROUP | PLACE},
    {"agency", "agencies", "agence", "agences", true, GROUP},
    {"school", "schools", "école", "écoles", true, PLACE},
    {"hospital", "hospitals", "hôpital", "hôpitaux", false, PLACE},
    {"university", "universities", "université", "universités", true, GROUP | PLACE},
    {"city", "cities", "ville", "villes", true, PLACE},
    {"region", "regions", "région", "régions", true, PLACE},
    {"country", "countries", "pays", "pays", false, PLACE},
    {"village", "villages", "village", "villages", false, PLACE},
    {"house", "houses", "maison", "maisons", true, PLACE},
    {"hotel", "hotels", "hôtel", "hôtels", false, PLACE},
    {"bridge", "bridges", "pont", "ponts", false, PLACE},
    {"station", "stations", "gare", "gares", true, PLACE},
    {"church", "churches", "église", "églises", true, PLACE},
    {"island", "islands", "île", "îles", true, PLACE},
    {"hedge", "hedges", "haie", "haies", true, PLACE},
    {"letter", "letters", "lettre", "lettres", true, PAPER},
    {"report", "reports", "rapport", "rapports", false, PAPER},
    {"agreement", "agreements", "accord", "accords", false, PAPER},
    {"treaty", "treaties", "traité", "traités", false, PAPER},
    {"law", "laws", "loi", "lois", true, PAPER},
    {"decision", "decisions", "décision", "décisions", true, IDEA},
    {"policy", "policies", "politique", "politiques", true, IDEA},
    {"project", "projects", "projet", "projets", false, IDEA},
    {"proposal", "proposals", "proposition", "propositions", true, PAPER},
    {"programme", "programmes", "programme", "programmes", false, IDEA},
    {"budget", "budgets", "budget", "budgets", false, IDEA},
    {"question", "questions", "question", "questions", true, IDEA},
    {"answer", "answers", "réponse", "réponses", true, PAPER},
    {"book", "books", "livre", "livres", false, PAPER},
    {"document", "documents", "document", "documents", false, PAPER},
    {"price", "prices", "prix", "prix", false, IDEA},
    {"idea", "ideas", "idée", "idées", true, IDEA},
    {"map", "maps", "carte", "cartes", true, PAPER},
    {"history", "histories", "histoire", "histoires", true, IDEA},
    {"newspaper", "newspapers", "journal", "journaux", false, PAPER},
    {"increase", "increases", "hausse", "hausses", true, IDEA},
    {"picture", "pictures", "image", "images", true, PAPER},
};

const struct adjective adjectives[] = {
    {"small", "petit", "petite", "petits", NULL, BEFORE_NOUN, ANYTHING},
    {"big", "grand", "grande", "grands", NULL, BEFORE_NOUN, ANYTHING},
    {"new", "nouveau", "nouvelle", "nouveaux", "nouvel", BEFORE_NOUN, ANYTHING},
    {"old", "vieux", "vieille", "vieux", "vieil", BEFORE_NOUN, ANYTHING},
    {"beautiful", "beau", "belle", "beaux", "bel", BEFORE_NOUN, PERSON | PLACE},
    {"good", "bon", "bonne", "bons", NULL, BEFORE_NOUN, PERSON | MATTER},
    {"long", "long", "longue", "longs", NULL, BEFORE_NOUN, MATTER},
    {"common", "commun", "commune", "communs", NULL, QUALITY, MATTER},
    {"important", "important", "importante", "importants", NULL, QUALITY, ANYTHING},
    {"difficult", "difficile", "difficile", "difficiles", NULL, QUALITY, PERSON | MATTER},
    {"famous", "célèbre", "célèbre", "célèbres", NULL, QUALITY, ANYTHING},
    {"useful", "utile", "utile", "utiles", NULL, QUALITY, MATTER | PLACE},
    {"clear", "clair", "claire", "clairs", NULL, QUALITY, MATTER},
    {"happy", "heureux", "heureuse", "heureux", NULL, QUALITY, PERSON},
    {"proud", "fier", "fière", "fiers", NULL, QUALITY, PERSON},
    {"honest", "honnête", "honnête", "honnêtes", NULL, QUALITY, ACTOR},
    {"independent", "indépendant", "indépendante", "indépendants", NULL, QUALITY, GROUP},
    {"dangerous", "dangereux", "dangereuse", "dangereux", NULL, QUALITY, ANYTHING},
    {"expensive", "cher", "chère", "chers", NULL, QUALITY, PLACE},
    {"red", "rouge", "rouge", "rouges", NULL, QUALITY, PLACE},
    {"white", "blanc", "blanche", "blancs", NULL, QUALITY, PLACE},
    {"European", "européen", "européenne", "européens", NULL, ORIGIN, ANYTHING},
    {"French", "français", "française", "français", NULL, ORIGIN, ANYTHING},
    {"German", "allemand", "allemande", "allemands", NULL, ORIGIN, ANYTHING},
    {"Italian", "italien", "italienne", "italiens", NULL, ORIGIN, ANYTHING},
    {"Hungarian", "hongrois", "hongroise", "hongrois", NULL, ORIGIN, ANYTHING},
    {"foreign", "étranger", "étrangère", "étrangers", NULL, ORIGIN, ANYTHING},
    {"economic", "économique", "économique", "économiques", NULL, FIELD, GROUP | MATTER},
    {"agricultural", "agricole", "agricole", "agricoles", NULL, FIELD, GROUP | MATTER},
    {"political", "politique", "politique", "politiques", NULL, FIELD, GROUP | MATTER},
    {"social", "social", "sociale", "sociaux", NULL, FIELD, GROUP | MATTER},
    {"monetary", "monétaire", "monétaire", "monétaires", NULL, FIELD, MATTER},
    {"international", "international", "internationale", "internationaux", NULL, FIELD, GROUP | MATTER},
    {"national", "national", "nationale", "nationaux", NULL, FIELD, GROUP | MATTER},
};

/* "in" is à where the article contracts with it: au Japon, aux Pays-Bas. */
const struct name countries[] = {
    {{"France"}, "la", "France", "en", true, false},
    {{"Germany"}, "la", "Allemagne", "en", true, false},
    {{"Italy"}, "la", "Italie", "en", true, false},
    {{"Spain"}, "la", "Espagne", "en", true, false},
    {{"Belgium"}, "la", "Belgique", "en", true, false},
    {{"Hungary"}, "la", "Hongrie", "en", true, false},
    {{"Greece"}, "la", "Grèce", "en", true, false},
    {{"Portugal"}, "le", "Portugal", "au", false, false},
    {{"Japan"}, "le", "Japon", "au", false, false},
    {{"Canada"}, "le", "Canada", "au", false, false},
    {{"Denmark"}, "le", "Danemark", "au", false, false},
    {{"Iran"}, "le", "Iran", "en", false, false},
    {{"the", "Netherlands"}, "les", "Pays-Bas", "aux", false, true},
    {{"the", "United", "States"}, "les", "États-Unis", "aux", false, true},
};

const struct name cities[] = {
    {{"Paris"}, NULL, "Paris", "à", false, false},    {{"London"}, NULL, "Londres", "à", false, false},
    {{"Rome"}, NULL, "Rome", "à", true, false},       {{"Brussels"}, NULL, "Bruxelles", "à", true, false},
    {{"Geneva"}, NULL, "Genève", "à", true, false},   {{"Athens"}, NULL, "Athènes", "à", true, false},
    {{"Lisbon"}, NULL, "Lisbonne", "à", true, false}, {{"Vienna"}, NULL, "Vienne", "à", true, false},
};

const struct name people[] = {
    {{"Mary"}, NULL, "Marie", NULL, true, false},   {{"Peter"}, NULL, "Pierre", NULL, false, false},
    {{"Anne"}, NULL, "Anne", NULL, true, false},    {{"Paul"}, NULL, "Paul", NULL, false, false},
    {{"Helen"}, NULL, "Hélène", NULL, true, false}, {{"Andrew"}, NULL, "André", NULL, false, false},
};

const struct european_kind european_kinds[] = {
    {"Area", "zone", true},     {"Union", "union", true},      {"Community", "communauté", true},
    {"Bank", "banque", true},   {"Council", "conseil", false}, {"Fund", "fonds", false},
    {"Agency", "agence", true},
};

const struct european_field european_fields[] = {
    {"Economic", "économique", "économique"}, {"Monetary", "monétaire", "monétaire"},
    {"Social", "social", "sociale"},          {"Political", "politique", "politique"},
    {"Central", "central", "centrale"},       {"Agricultural", "agricole", "agricole"},
};

const struct word months[] = {
    {"January", "janvier"}, {"February", "février"},  {"March", "mars"},
    {"April", "avril"},     {"May", "mai"},           {"June", "juin"},
    {"July", "juillet"},    {"August", "août"},       {"September", "septembre"},
    {"October", "octobre"}, {"November", "novembre"}, {"December", "décembre"},
};

const struct word weekdays[] = {
    {"Monday", "lundi"},    {"Tuesday", "mardi"},   {"Wednesday", "mercredi"}, {"Thursday", "jeudi"},
    {"Friday", "vendredi"}, {"Saturday", "samedi"}, {"Sunday", "dimanche"},
};

const struct word numbers[] = {
    {"two", "deux"}, {"three", "trois"}, {"four", "quatre"},  {"five", "cinq"},
    {"six", "six"},  {"seven", "sept"},  {"eight", "huit"},   {"nine", "neuf"},
    {"ten", "dix"},  {"eleven", "onze"}, {"twelve", "douze"},
};

const int noun_count = COUNT(nouns);
const int adjective_count = COUNT(adjectives);
const int country_count = COUNT(countries);
const int city_count = COUNT(cities);
const int people_count = COUNT(people);
const int european_kind_count = COUNT(european_kinds);
const int european_field_count = COUNT(european_fields);
const int number_count = COUNT(numbers);

static _Noreturn void missing(const char *english)
{
    give_up("the grammar's lexicon has no \"%s\"", english);
}

const struct noun *find_noun(const char *english)
{
    for (int i = 0; i < noun_count; i++) {
        if (strcmp(nouns[i].english, english) == 0) return &nouns[i];
    }
    missing(english);
}

const struct adjective *find_adjective(const char *english)
{
    for (int i = 0; i < adjective_count; i++) {
        if (strcmp(adjectives[i].english, english) == 0) return &adjectives[i];
    }
    missing(english);
}

const struct verb *find_verb(const char *english)
{
    for (int i = 0; i < verb_count; i++) {
        if (strcmp(verbs[i].english, english) == 0) return &verbs[i];
    }
    missing(english);
}

const struct european_kind *find_european_kind(const char *english)
{
    for (int i = 0; i < european_kind_count; i++) {
        if (strcmp(european_kinds[i].english, english) == 0) return &european_kinds[i];
    }
    missing(english);
}

const struct european_field *find_european_field(const char *english)
{
    for (int i = 0; i < european_field_count; i++) {
        if (strcmp(european_fields[i].english, english) == 0) return &european_fields[i];
    }
    missing(english);
}
