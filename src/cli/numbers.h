/// Checks for numbers on the command line.
#pragma once

#include <charconv>
#include <cmath>
#include <string>

#include <CLI/CLI.hpp>

namespace graft::cli {

/// A finite number above zero in C's notation whatever the locale: no "nan", "inf" or "1,5".
inline CLI::Validator positive_number() {
  return {[](std::string& text) {
            double value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool fine =
                error == std::errc() && end == text.data() + text.size() && std::isfinite(value) && value > 0;
            return fine ? std::string() : "expected a number above 0, found \"" + text + "\"";
          },
          "NUMBER > 0"};
}

inline CLI::Validator at_least_one() {
  return CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}).description("INT >= 1");
}

}  // namespace graft::cli
