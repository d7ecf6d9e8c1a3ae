/// Charts as SVG with their legend as HTML, and the values for the page's script and for screen readers beside them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/markup.h"

namespace graft::report {

/// How values are written, and which range an axis may have.
enum class Unit {
  kNumber,   ///< four digits behind the point
  kPercent,  ///< of fractions 0..1
  kRate,     ///< three digits, as 1e-4 where it is small; the axis begins at 0 unless it is logarithmic
};

struct Series {
  std::string name = {};
  std::vector<double> values = {};  ///< from left to right; gaps where they are not finite
  std::size_t style = 0;            ///< colour and marker, 0 to 7, then from the beginning; from 8 on dashed
};

/// Part of the x axis with a name, first to last.
struct Stretch {
  std::string name = {};
  std::size_t first = 0, last = 0;  ///< 0-based
};

struct LineChart {
  std::string id = {};     ///< unique on the page; letters, digits and "-"
  std::string title = {};  ///< "Loss"
  std::string note = {};   ///< a sentence that says what is to be seen
  Unit unit = Unit::kNumber;
  double logarithmic_from = 100;  ///< ratio of the largest to the smallest value from which the axis is logarithmic
  std::string x_name = "epoch";
  std::vector<std::string> x_labels = {};  ///< one for each place; none: 1, 2, ...
  std::vector<Series> series = {};
  std::vector<Stretch> stretches = {};   ///< shaded in turn; none: no shading
  std::optional<std::size_t> best = {};  ///< 0-based x to mark
};

/// A figure. Empty if no series has a finite value.
Html line_chart(const LineChart& chart);

/// A short piece of the line that a series of this style has.
Html legend_swatch(std::size_t style);

std::string in_unit(double value, Unit unit);

/// Predictions of about the same confidence.
struct ConfidenceBin {
  double from = 0, to = 1;  ///< of the confidence
  double confidence = 0;    ///< mean
  double accuracy = 0;
  long long count = 0;
};

/// A reliability diagram (Guo et al. 2017, arXiv:1706.04599) with the counts below it. Empty if all counts are 0.
Html reliability_diagram(const std::string& id, const std::vector<ConfidenceBin>& bins);

}  // namespace graft::report
