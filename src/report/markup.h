/// HTML that cannot be written unescaped: literals are markup, everything else comes in through text().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace graft::report {

/// A piece of a page.
class Html {
 public:
  Html() = default;
  Html& operator+=(const Html& more) {
    markup_ += more.markup_;
    return *this;
  }
  friend Html operator+(Html first, const Html& second) { return std::move(first += second); }
  bool empty() const { return markup_.empty(); }
  const std::string& markup() const { return markup_; }

 private:
  explicit Html(std::string markup) : markup_(std::move(markup)) {}
  friend Html operator""_html(const char* literal, std::size_t size);
  friend Html text(std::string_view text);
  std::string markup_;
};

/// Markup that stands in the source.
Html operator""_html(const char* literal, std::size_t size);
/// Any text (UTF-8), as content or within a quoted attribute. Control characters become U+FFFD.
Html text(std::string_view text);
Html text(long long number);
inline Html text(int number) { return text(static_cast<long long>(number)); }
inline Html text(long number) { return text(static_cast<long long>(number)); }
inline Html text(std::size_t number) { return text(static_cast<long long>(number)); }

/// A number without regard to the locale, with this many digits behind the point; "-" for one that is not finite.
std::string decimal(double value, int digits);
/// Three digits, or all before the point: "0.5", "12.3", "1234", "1e-5".
std::string brief(double value);
/// "96.67 %" for 0.9667, with a space that does not break.
std::string percent(double fraction);

}  // namespace graft::report
