#include "base/printf.h"

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdio>

#include <locale.h>

namespace graft::base {

namespace {

/// The calling thread alone is in the "C" locale.
class InCLocale {
 public:
  InCLocale() {
    static const locale_t c = ::newlocale(LC_ALL_MASK, "C", nullptr);
    before_ = ::uselocale(c);
  }
  ~InCLocale() { ::uselocale(before_); }
  InCLocale(const InCLocale&) = delete;
  InCLocale& operator=(const InCLocale&) = delete;

 private:
  locale_t before_;
};

}  // namespace

std::string format(const char* pattern, ...) {
  const InCLocale while_formatting;
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(static_cast<std::size_t>(std::max(size, 0)) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), pattern, again);
  va_end(again);
  text.pop_back();
  return text;
}

}  // namespace graft::base
