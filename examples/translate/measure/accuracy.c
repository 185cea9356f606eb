/* SPDX-License-Identifier: BSD-3-Clause
 *
 * accuracy.c: see accuracy.h. */
#include "measure/accuracy.h"

#include <math.h>
#include <string.h>

void accuracy_add(accuracy *sums, char *const *hypothesis, int hypothesis_count, char *const *reference,
                  int reference_count)
{
    int right = 0;
    for (int i = 0; i < reference_count && i < hypothesis_count; i++) right += strcmp(hypothesis[i], reference[i]) == 0;
    sums->sentences++;
    sums->exact += right == reference_count && right == hypothesis_count;
    sums->tokens += (size_t)reference_count;
    sums->right_tokens += (size_t)right;
}

static double share(size_t part, size_t whole)
{
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

double accuracy_exact(const accuracy *sums)
{
    return share(sums->exact, sums->sentences);
}

double accuracy_tokens(const accuracy *sums)
{
    return share(sums->right_tokens, sums->tokens);
}

int length_bucket_of(int source_count)
{
    if (source_count < 1) return 0;
    const int bucket = (source_count - 1) / LENGTH_STEP;
    return bucket < LENGTH_BUCKETS ? bucket : LENGTH_BUCKETS - 1;
}

const char *length_bucket_name(int bucket)
{
    static const char *const names[LENGTH_BUCKETS] = {"1-10", "11-20", "21-30", "31-40", "41-50", "51-60", "61+"};
    return names[bucket];
}

length_bucket *length_table_add(length_table *table, int source_count, char *const *hypothesis, int hypothesis_count,
                                char *const *reference, int reference_count)
{
    length_bucket *bucket = &table->buckets[length_bucket_of(source_count)];
    accuracy_add(&bucket->right, hypothesis, hypothesis_count, reference, reference_count);
    bleu_add(&bucket->overlap, hypothesis, hypothesis_count, reference, reference_count);
    return bucket;
}

length_bucket length_table_total(const length_table *table)
{
    length_bucket total = {0};
    for (int i = 0; i < LENGTH_BUCKETS; i++) {
        const length_bucket *bucket = &table->buckets[i];
        total.right.sentences += bucket->right.sentences;
        total.right.exact += bucket->right.exact;
        total.right.tokens += bucket->right.tokens;
        total.right.right_tokens += bucket->right.right_tokens;
        bleu_add_sums(&total.overlap, &bucket->overlap);
        alignment_error_add_sums(&total.alignment, &bucket->alignment);
    }
    return total;
}
