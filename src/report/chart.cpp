#include "report/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace graft::report {

namespace {

constexpr double kWidth = 400, kHeight = 240, kLeft = 50, kRight = 12, kTop = 22, kBottom = 38;
constexpr std::size_t kMostMarkers = 40;
constexpr std::size_t kColours = 8;

Html coordinate(double value) { return text(decimal(value, 1)); }

/// Where values lie on an axis, and which of them are written at it.
struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;
  int digits = 0;  ///< behind the point, for ticks

  /// 0 to 1.
  double place(double value) const {
    if (!logarithmic) return (value - low) / (high - low);
    return std::log(value / low) / std::log(high / low);
  }
};

/// The smallest of 1, 2, 5, 10, 20, ... (or a power of ten below) that is not below `step`.
double round_step(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= step * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

Axis linear_axis(double low, double high, double most) {
  if (high - low < 1e-9 * std::max(std::abs(high), 1e-9)) {
    const double margin = high == 0 ? 1 : std::abs(high) / 2;
    low -= margin;
    high += margin;
  }
  const double step = round_step((high - low) / 4);
  Axis axis;
  const auto first = static_cast<long long>(std::floor(low / step + 1e-9));
  auto last = static_cast<long long>(std::ceil(high / step - 1e-9));
  while (static_cast<double>(last - 1) * step >= most - 1e-9 * step) --last;
  for (auto i = first; i <= last; ++i) axis.ticks.push_back(static_cast<double>(i) * step);
  axis.low = axis.ticks.front();
  axis.high = axis.ticks.back();
  axis.digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return axis;
}

/// Ticks at powers of ten, or between two of them at 1, 2 and 5 as well.
Axis logarithmic_axis(double low, double high) {
  Axis axis;
  axis.logarithmic = true;
  axis.low = std::pow(10, std::floor(std::log10(low) + 1e-9));
  axis.high = std::pow(10, std::ceil(std::log10(high) - 1e-9));
  const int decades = static_cast<int>(std::lround(std::log10(axis.high / axis.low)));
  const int every = std::max(1, (decades + 5) / 6);
  for (int i = 0; i <= decades; i += every) {
    const double power = axis.low * std::pow(10, i);
    axis.ticks.push_back(power);
    if (decades <= 2 && i < decades) {
      axis.ticks.push_back(2 * power);
      axis.ticks.push_back(5 * power);
    }
  }
  return axis;
}

std::optional<Axis> value_axis(const LineChart& chart) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& series : chart.series)
    for (const double value : series.values) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  if (low > high) return std::nullopt;
  if (low > 0 && high / low >= chart.logarithmic_from) return logarithmic_axis(low, high);
  if (chart.unit == Unit::kRate) low = std::min(0.0, low);
  const double most = chart.unit == Unit::kPercent && high <= 1 ? 1 : std::numeric_limits<double>::infinity();
  return linear_axis(low, high, most);
}

std::string tick_text(double value, const Axis& axis, Unit unit) {
  if (unit == Unit::kPercent && !axis.logarithmic)
    return decimal(value * 100, std::max(0, axis.digits - 2)) + "\xC2\xA0%";
  return unit == Unit::kRate || axis.logarithmic || axis.digits > 3 ? brief(value) : decimal(value, axis.digits);
}

/// Places of the x axis. Those with names stand in the middle of their share of it, so that the names have room.
struct Steps {
  std::size_t count = 1;
  bool named = false;
  double at(double index) const {
    constexpr double kRoom = kWidth - kLeft - kRight;
    if (count == 1) return kLeft + kRoom / 2;
    const double margin = named ? kRoom / static_cast<double>(2 * count) : 0;
    return kLeft + margin + (kRoom - 2 * margin) * index / static_cast<double>(count - 1);
  }
  double at(std::size_t index) const { return at(static_cast<double>(index)); }
};

double height_of(double value, const Axis& axis) {
  return kHeight - kBottom - (kHeight - kTop - kBottom) * axis.place(value);
}

/// At most `most` characters (UTF-8).
std::string clipped(const std::string& text, std::size_t most) {
  std::size_t at = 0, characters = 0;
  for (; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (begins && characters++ == most) break;
  }
  return at == text.size() ? text : text.substr(0, at) + "\xE2\x80\xA6";
}

Html stretches(const LineChart& chart, const Steps& steps) {
  Html svg;
  for (std::size_t i = 0; i < chart.stretches.size(); ++i) {
    const auto& stretch = chart.stretches[i];
    const double from = i == 0 ? kLeft : steps.at(static_cast<double>(stretch.first) - 0.5);
    const double to =
        i + 1 == chart.stretches.size() ? kWidth - kRight : steps.at(static_cast<double>(stretch.last) + 0.5);
    svg += "<rect class=\"stretch\" x=\""_html + coordinate(from) + "\" y=\""_html + coordinate(kTop - 16) +
           "\" width=\""_html + coordinate(to - from) + "\" height=\""_html +
           coordinate(kHeight - kBottom - kTop + 16) + "\"/>"_html;
    const auto room = static_cast<std::size_t>(std::max(0.0, (to - from - 8) / 6.5));
    if (room >= std::min<std::size_t>(stretch.name.size(), 6))
      svg += "<text x=\""_html + coordinate(from + 5) + "\" y=\""_html + coordinate(kTop - 4) + "\">"_html +
             text(clipped(stretch.name, room)) + "</text>"_html;
  }
  return svg;
}

std::string x_label(const LineChart& chart, std::size_t index) {
  return index < chart.x_labels.size() ? chart.x_labels[index] : std::to_string(index + 1);
}

Html x_axis(const LineChart& chart, const Steps& steps) {
  Html svg;
  const auto every = static_cast<std::size_t>(std::max(1.0, round_step(static_cast<double>(steps.count) / 8)));
  const double apart = (kWidth - kLeft) * static_cast<double>(every) / static_cast<double>(steps.count);
  for (std::size_t i = 0; i < steps.count; ++i) {
    const std::size_t x = i + 1;
    if (x % every == 0 || (x == 1 && every > 2))
      svg += "<text class=\"x\" x=\""_html + coordinate(steps.at(i)) + "\" y=\""_html +
             coordinate(kHeight - kBottom + 16) + "\">"_html +
             text(clipped(x_label(chart, i), static_cast<std::size_t>(std::max(apart / 6.5, 4.0)))) + "</text>"_html;
  }
  return svg + "<text class=\"x\" x=\""_html + coordinate((kLeft + kWidth - kRight) / 2) + "\" y=\""_html +
         coordinate(kHeight - 5) + "\">"_html + text(chart.x_name) + "</text>"_html;
}

Html grid(const Axis& axis, Unit unit) {
  Html svg;
  for (const double tick : axis.ticks) {
    const Html y = coordinate(height_of(tick, axis));
    svg += "<line class=\"grid\" x1=\""_html + coordinate(kLeft) + "\" x2=\""_html + coordinate(kWidth - kRight) +
           "\" y1=\""_html + y + "\" y2=\""_html + y + "\"/><text class=\"y\" x=\""_html + coordinate(kLeft - 6) +
           "\" y=\""_html + y + "\" dy=\"0.32em\">"_html + text(tick_text(tick, axis, unit)) + "</text>"_html;
  }
  return svg;
}

/// A circle, square, diamond or triangle about a point.
Html marker(std::size_t style, double x, double y) {
  constexpr double r = 3;
  const auto move = [&](double dx, double dy) { return coordinate(x + dx) + " "_html + coordinate(y + dy); };
  switch (style % 4) {
    case 0:
      return "<circle cx=\""_html + coordinate(x) + "\" cy=\""_html + coordinate(y) + "\" r=\"2.6\"/>"_html;
    case 1:
      return "<path d=\"M"_html + move(0, -r - 1) + "L"_html + move(r + 1, 0) + "L"_html + move(0, r + 1) + "L"_html +
             move(-r - 1, 0) + "Z\"/>"_html;
    case 2:
      return "<path d=\"M"_html + move(-r + .4, -r + .4) + "h5.2v5.2h-5.2Z\"/>"_html;
    default:
      return "<path d=\"M"_html + move(0, -r - .6) + "L"_html + move(r + .4, r - .4) + "L"_html +
             move(-r - .4, r - .4) + "Z\"/>"_html;
  }
}

Html style_class(std::size_t style) {
  return "s"_html + text(style % kColours + 1) + (style >= kColours ? " dashed"_html : Html());
}

Html line(const Series& series, const Axis& axis, const Steps& steps) {
  Html path, markers;
  bool joined = false;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    const double value = series.values[i];
    if (!std::isfinite(value)) {
      joined = false;
      continue;
    }
    const double x = steps.at(i), y = height_of(value, axis);
    const bool alone = !joined && (i + 1 == series.values.size() || !std::isfinite(series.values[i + 1]));
    path += (joined ? "L"_html : "M"_html) + coordinate(x) + " "_html + coordinate(y);
    if (steps.count <= kMostMarkers || alone) markers += marker(series.style, x, y);
    joined = true;
  }
  return "<g class=\"series "_html + style_class(series.style) + "\"><path class=\"line\" d=\""_html + path +
         "\"/>"_html + markers + "</g>"_html;
}

/// What the last finite value is, for the legend.
double last_of(const Series& series) {
  const auto found = std::ranges::find_if(series.values.rbegin(), series.values.rend(),
                                          [](double value) { return std::isfinite(value); });
  return found == series.values.rend() ? std::numeric_limits<double>::quiet_NaN() : *found;
}

Html legend(const LineChart& chart) {
  Html items;
  for (const auto& series : chart.series) {
    Html values;
    for (std::size_t i = 0; i < series.values.size(); ++i)
      values += (i == 0 ? Html() : "|"_html) + text(in_unit(series.values[i], chart.unit));
    items += "<li data-values=\""_html + values + "\">"_html + legend_swatch(series.style) +
             " <span class=\"name\">"_html + text(series.name) + "</span> <span class=\"value\">"_html +
             text(in_unit(last_of(series), chart.unit)) + "</span></li>"_html;
  }
  return "<ul class=\"legend\">"_html + items + "</ul>"_html;
}

/// For the script: what each place of the x axis is called. Empty for 1, 2, ...
Html x_labels(const LineChart& chart) {
  Html labels;
  for (std::size_t i = 0; i < chart.x_labels.size(); ++i)
    labels += (i == 0 ? Html() : "|"_html) + text(chart.x_labels[i]);
  return labels;
}

Html best_mark(const LineChart& chart, const Steps& steps) {
  if (!chart.best || *chart.best >= steps.count) return {};
  const Html x = coordinate(steps.at(*chart.best));
  return "<line class=\"best\" x1=\""_html + x + "\" x2=\""_html + x + "\" y1=\""_html + coordinate(kTop) +
         "\" y2=\""_html + coordinate(kHeight - kBottom) + "\"/>"_html;
}

}  // namespace

Html legend_swatch(std::size_t style) {
  return "<svg class=\"swatch\" viewBox=\"0 0 24 12\" aria-hidden=\"true\"><g class=\"series "_html +
         style_class(style) + "\"><path class=\"line\" d=\"M1 6H23\"/>"_html + marker(style, 12, 6) + "</g></svg>"_html;
}

std::string in_unit(double value, Unit unit) {
  switch (unit) {
    case Unit::kNumber:
      return decimal(value, 4);
    case Unit::kPercent:
      return percent(value);
    case Unit::kRate:
      return brief(value);
  }
  return {};
}

Html line_chart(const LineChart& chart) {
  const auto axis = value_axis(chart);
  if (!axis) return {};
  Steps steps{.named = !chart.x_labels.empty()};
  for (const auto& series : chart.series) steps.count = std::max(steps.count, series.values.size());
  Html lines;
  for (const auto& series : chart.series) lines += line(series, *axis, steps);
  const Html id = text(chart.id);
  return "<figure class=\"chart\" id=\""_html + id + "\"><h3 id=\""_html + id + "-title\">"_html + text(chart.title) +
         (axis->logarithmic ? " <small>(logarithmic)</small>"_html : Html()) + "</h3><p class=\"note\" id=\""_html +
         id + "-note\">"_html + text(chart.note) + "</p><svg class=\"plot\" viewBox=\"0 0 "_html +
         text(static_cast<int>(kWidth)) + " "_html + text(static_cast<int>(kHeight)) +
         "\" role=\"img\" aria-labelledby=\""_html + id + "-title\" aria-describedby=\""_html + id +
         "-note\" data-left=\""_html + coordinate(steps.at(std::size_t{0})) + "\" data-right=\""_html +
         coordinate(steps.at(steps.count - 1)) + "\" data-count=\""_html + text(steps.count) + "\" data-name=\""_html +
         text(chart.x_name) + "\" data-labels=\""_html + x_labels(chart) + "\">"_html + stretches(chart, steps) +
         grid(*axis, chart.unit) + x_axis(chart, steps) + best_mark(chart, steps) + lines +
         "<line class=\"cursor\" y1=\""_html + coordinate(kTop) + "\" y2=\""_html + coordinate(kHeight - kBottom) +
         "\"/></svg>"_html + "<figcaption><span class=\"at\">last "_html + text(chart.x_name) + "</span>"_html +
         legend(chart) + "</figcaption></figure>"_html;
}

Html reliability_diagram(const std::string& id, const std::vector<ConfidenceBin>& bins) {
  constexpr double kSide = 210, kEdge = 50, kAbove = 10, kCounts = 40, kGap = 12;
  constexpr double kBelow = kAbove + kSide + kGap + kCounts;
  long long most = 0, total = 0;
  for (const auto& bin : bins) {
    most = std::max(most, bin.count);
    total += bin.count;
  }
  if (total == 0) return {};
  const auto x_of = [](double confidence) { return kEdge + kSide * confidence; };
  const auto y_of = [](double accuracy) { return kAbove + kSide * (1 - accuracy); };
  const auto rectangle = [](const Html& kind, double x, double y, double width, double height) {
    return "<rect class=\""_html + kind + "\" x=\""_html + coordinate(x) + "\" y=\""_html + coordinate(y) +
           "\" width=\""_html + coordinate(width) + "\" height=\""_html + coordinate(height) + "\"/>"_html;
  };
  Html svg;
  for (const double tick : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const Html x = coordinate(x_of(tick)), y = coordinate(y_of(tick));
    svg += "<line class=\"grid\" x1=\""_html + coordinate(kEdge) + "\" x2=\""_html + coordinate(kEdge + kSide) +
           "\" y1=\""_html + y + "\" y2=\""_html + y + "\"/><text class=\"y\" x=\""_html + coordinate(kEdge - 6) +
           "\" y=\""_html + y + "\" dy=\"0.32em\">"_html + text(decimal(tick * 100, 0)) +
           " %</text><text class=\"x\" x=\""_html + x + "\" y=\""_html + coordinate(kBelow + 15) + "\">"_html +
           text(decimal(tick * 100, 0)) + "</text>"_html;
  }
  for (const auto& bin : bins) {
    if (bin.count == 0) continue;
    const double left = x_of(bin.from) + 0.5, width = std::max(1.0, x_of(bin.to) - x_of(bin.from) - 1);
    svg += rectangle("bar"_html, left, y_of(bin.accuracy), width, kSide * bin.accuracy);
    const double low = std::min(bin.accuracy, bin.confidence), high = std::max(bin.accuracy, bin.confidence);
    svg += rectangle(bin.confidence > bin.accuracy ? "gap over"_html : "gap under"_html, left, y_of(high), width,
                     kSide * (high - low));
    const double height = std::max(1.0, kCounts * static_cast<double>(bin.count) / static_cast<double>(most));
    svg += rectangle("count"_html, left, kBelow - height, width, height);
  }
  svg += "<line class=\"diagonal\" x1=\""_html + coordinate(x_of(0)) + "\" y1=\""_html + coordinate(y_of(0)) +
         "\" x2=\""_html + coordinate(x_of(1)) + "\" y2=\""_html + coordinate(y_of(1)) +
         "\"/><text class=\"x\" x=\""_html + coordinate(x_of(0.5)) + "\" y=\""_html + coordinate(kBelow + 31) +
         "\">confidence in %</text><text class=\"y\" x=\""_html + coordinate(kEdge - 6) + "\" y=\""_html +
         coordinate(kBelow - kCounts / 2) + "\" dy=\"0.32em\">count</text>"_html;
  const Html name = text(id);
  return "<svg class=\"plot reliability\" viewBox=\"0 0 280 308\" role=\"img\" aria-labelledby=\""_html + name +
         "-title\" aria-describedby=\""_html + name + "-note\">"_html + svg + "</svg>"_html;
}

}  // namespace graft::report
