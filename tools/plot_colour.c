/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_colour.c: a straight line of lightness in OKLab (Ottosson 2020), with hue and chroma of blue.
 */
#include "plot_colour.h"

#include <math.h>

const plot_colour plot_link_colour = {.red = 0.878, .green = 0.412, .blue = 0.027};

/* Linear light to sRGB (IEC 61966-2-1). */
static double encode(double linear)
{
    if (linear <= 0) return 0;
    double value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return value < 1 ? value : 1;
}

/* The matrix is the inverse of the one that defines OKLab. */
plot_colour plot_colour_of(double part)
{
    const double white = 1.0, dark = 0.33, most_chroma = 0.14;
    double lightness = white + (dark - white) * part;
    double chroma = most_chroma * (1 - (1 - part) * (1 - part));
    double hue = (232 + 33 * part) * 3.14159265358979323846 / 180;
    double a = chroma * cos(hue), b = chroma * sin(hue);
    double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    return (plot_colour){.red = encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                         .green = encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                         .blue = encode(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

/* The nearest colour of the palette to each of the ramp would be now greenish, now violet, and the same for neighbours:
 * its cube has few blues. These are all that fall in lightness by nearly equal steps, 0.10 to 0.14 in OKLab, with hues
 * of 249 to 267 degrees. */
int plot_palette_colour(double part)
{
    static const int blues[PLOT_PALETTE_COLOURS] = {231, 153, 111, 69, 26, 20, 18};
    return blues[(int)(part * (PLOT_PALETTE_COLOURS - 1) + 0.5)];
}

int plot_colour_byte(double intensity)
{
    return (int)(intensity * 255 + 0.5);
}
