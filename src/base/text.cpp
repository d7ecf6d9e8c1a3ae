#include "base/text.h"

#include <charconv>
#include <cmath>

#include <graft/error.h>

namespace graft::base {

namespace {

template <class Number>
Number parse(std::string_view text, std::string_view what, const char* kind) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool fine = error == std::errc() && end == text.data() + text.size();
  if constexpr (std::is_floating_point_v<Number>) fine = fine && std::isfinite(value);
  if (!fine)
    throw Error(ErrorCode::kConfig, std::string(what) + ": expected " + kind + ", found \"" + std::string(text) + "\"");
  return value;
}

}  // namespace

double parse_number(std::string_view text, std::string_view what) { return parse<double>(text, what, "a number"); }

std::int64_t parse_integer(std::string_view text, std::string_view what) {
  return parse<std::int64_t>(text, what, "a whole number");
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
    if (text.empty()) parts.emplace_back();
  }
  return parts;
}

bool matches(std::string_view pattern, std::string_view text) {
  // Greedy with one point to return to: the last "*" and how much it had eaten.
  std::size_t p = 0, t = 0, star = std::string_view::npos, eaten = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      eaten = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++eaten;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string list_names(const std::vector<std::string>& names, std::size_t most) {
  std::string list;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) list += (i ? ", \"" : "\"") + names[i] + "\"";
  if (names.size() > most) list += ", ... (" + std::to_string(names.size() - most) + " more)";
  return list;
}

}  // namespace graft::base
