#include "report/markup.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/text.h"

namespace graft::report {

namespace {

template <class... How>
std::string number_text(double value, How... how) {
  if (!std::isfinite(value)) return "-";
  std::array<char, 400> digits;  // the largest double has 309 before the point
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value, how...);
  return {digits.data(), end};
}

}  // namespace

Html operator""_html(const char* literal, std::size_t size) { return Html({literal, size}); }

Html text(std::string_view text) { return Html(base::escaped(text)); }

Html text(long long number) { return text(std::to_string(number)); }

std::string decimal(double value, int digits) {
  std::string written = number_text(value, std::chars_format::fixed, digits);
  const bool zero = written.find_first_not_of("-0.") == std::string::npos;
  return zero && written.starts_with("-0") ? written.substr(1) : written;
}

std::string brief(double value) {
  if (const double size = std::abs(value); size >= 1000 && size < 1e15) return decimal(value, 0);
  std::string written = number_text(value, std::chars_format::general, 3);
  const auto exponent = written.find('e');
  if (exponent == std::string::npos) return written;
  auto digits = written.find_first_not_of("+-0", exponent + 1);
  if (digits == std::string::npos) digits = written.size() - 1;
  const bool negative = written[exponent + 1] == '-';
  return written.substr(0, exponent + 1) + (negative ? "-" : "") + written.substr(digits);
}

std::string percent(double fraction) {
  return std::isfinite(fraction) ? decimal(fraction * 100, 2) + "\xC2\xA0%" : "-";
}

}  // namespace graft::report
