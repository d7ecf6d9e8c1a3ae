/// Tables as text: RFC 4180, read strictly.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::data {

/// "line N: ", which messages begin with.
std::string line_text(std::size_t line);

/// Throws Error kFormat "line N: ..." for a NUL byte and for what is not UTF-8 (naming the byte of the line).
void check_lines(std::string_view text);

struct CsvRow {
  std::size_t line = 0;  ///< on which it begins; the first is 1
  std::vector<std::string> fields;
};

/// Fields between commas; in quotes those that hold commas, quotes (doubled) or line breaks. Lines end as they do on
/// Unix, Windows or old Macs; blank ones are left out.
class CsvReader {
 public:
  /// `text` must outlive it. Fields of more than `most_bytes` are refused.
  CsvReader(std::string_view text, std::size_t most_bytes) : text_(text), most_bytes_(most_bytes) {}

  /// The next row; nothing at the end. Throws Error kFormat (quotes that are not closed, or stand where none may), and
  /// kLimit, naming the line.
  std::optional<CsvRow> next();

 private:
  std::string field();
  std::string quoted_field();
  bool at_line_end() const;
  void skip_line_end();
  [[noreturn]] void refuse(std::size_t line, const std::string& what) const;
  void check_size(std::size_t bytes, std::size_t line) const;

  std::string_view text_;
  std::size_t most_bytes_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace graft::data
