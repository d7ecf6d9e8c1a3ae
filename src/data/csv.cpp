#include "data/csv.h"

#include <graft/error.h>

#include "base/text.h"

namespace graft::data {

std::string line_text(std::size_t line) { return "line " + std::to_string(line) + ": "; }

void check_lines(std::string_view text) {
  std::size_t line = 1;
  for (auto rest = text, whole_line = text; !rest.empty();) {
    const auto code = base::take_code_point(rest);
    const auto byte = whole_line.size() - rest.size();  // from 1
    if (!code)
      throw Error(ErrorCode::kFormat, line_text(line) + "expected UTF-8, found another byte (" +
                                          std::to_string(static_cast<unsigned char>(whole_line[byte - 1])) +
                                          ") as its byte " + std::to_string(byte));
    if (*code == 0) throw Error(ErrorCode::kFormat, line_text(line) + "expected text, found a NUL byte");
    if (*code != '\n') continue;
    ++line;
    whole_line = rest;
  }
}

std::optional<CsvRow> CsvReader::next() {
  while (at_ < text_.size() && at_line_end()) skip_line_end();
  if (at_ >= text_.size()) return std::nullopt;
  CsvRow row{line_, {}};
  for (;;) {
    row.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_field() : field());
    if (at_ >= text_.size()) return row;
    if (text_[at_] == ',') {
      ++at_;
      continue;
    }
    skip_line_end();
    return row;
  }
}

std::string CsvReader::field() {
  const auto begin = at_;
  while (at_ < text_.size() && text_[at_] != ',' && !at_line_end()) {
    if (text_[at_] == '"') refuse(line_, "found a quote in a field that does not begin with one");
    ++at_;
  }
  check_size(at_ - begin, line_);
  return std::string(text_.substr(begin, at_ - begin));
}

std::string CsvReader::quoted_field() {
  const auto first_line = line_;
  std::string value;
  for (++at_; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"' && text_.substr(at_ + 1, 1) != "\"") {
      ++at_;
      if (at_ < text_.size() && text_[at_] != ',' && !at_line_end())
        refuse(line_, "expected a comma or the end of the line behind a field in quotes, found more of it");
      return value;
    }
    if (c == '"') ++at_;
    if (c == '\n') ++line_;
    value += c;
    check_size(value.size(), first_line);
  }
  refuse(first_line, "expected the quote that ends this field, found none up to the end of the file");
}

bool CsvReader::at_line_end() const { return text_[at_] == '\n' || text_[at_] == '\r'; }

void CsvReader::skip_line_end() {
  at_ += text_.substr(at_, 2) == "\r\n" ? 2 : 1;
  ++line_;
}

void CsvReader::refuse(std::size_t line, const std::string& what) const {
  throw Error(ErrorCode::kFormat, line_text(line) + "this is no CSV: " + what);
}

void CsvReader::check_size(std::size_t bytes, std::size_t line) const {
  if (bytes > most_bytes_)
    throw Error(ErrorCode::kLimit,
                line_text(line) + "expected at most " + std::to_string(most_bytes_) + " bytes in a text, found more");
}

}  // namespace graft::data
