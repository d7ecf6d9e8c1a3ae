#include <graft/text_dataset.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include <graft/error.h>

#include "base/alive.h"
#include "base/byte_source.h"
#include "base/check.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/translate.h"
#include "data/classes.h"
#include "data/csv.h"
#include "data/shuffle.h"

namespace graft {

namespace fs = std::filesystem;

namespace {

using data::line_text;

/// A file's bytes that are known to be text, without a byte order mark.
std::string read_text(const fs::path& path, std::size_t most_bytes) {
  const auto bytes = base::read_file(path, most_bytes);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  base::named(path.string(), [&] { data::check_lines(text); });
  return std::string(text);
}

void check_text_size(std::string_view text, std::size_t line, const TextOptions& options) {
  if (text.size() > options.max_text_bytes)
    throw Error(ErrorCode::kLimit, line_text(line) + "expected at most " + std::to_string(options.max_text_bytes) +
                                       " bytes in a text, found " + std::to_string(text.size()));
}

/// On which line of a text it becomes too long; 1 for one that is not.
std::size_t line_beyond(std::string_view text, std::size_t most_bytes) {
  return 1 + static_cast<std::size_t>(std::ranges::count(text.substr(0, most_bytes), '\n'));
}

std::size_t column_of(const data::CsvRow& names, const std::string& column) {
  const auto found = std::ranges::find(names.fields, column);
  if (found == names.fields.end())
    throw Error(ErrorCode::kFormat, line_text(names.line) + "expected a column \"" + column + "\", found " +
                                        base::list_names(names.fields));
  if (std::ranges::count(names.fields, column) > 1)
    throw Error(ErrorCode::kFormat, line_text(names.line) + "expected one column \"" + column + "\", found several");
  return static_cast<std::size_t>(found - names.fields.begin());
}

bool is_csv(const fs::path& path) { return base::lower_case(path.extension().string()) == ".csv"; }

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

}  // namespace

struct [[gnu::visibility("hidden")]] TextDataset::Impl {
  TextOptions options;
  std::vector<std::string> classes;
  std::vector<std::string> texts;
  std::vector<std::int64_t> labels;
  std::vector<std::pair<std::size_t, std::size_t>> places;  ///< index into `files` and line; line 0: all of the file
  std::vector<std::string> files;

  void add(std::string text, std::int64_t label, std::size_t line) {
    texts.push_back(std::move(text));
    labels.push_back(label);
    places.emplace_back(files.size() - 1, line);
  }

  /// Calls `on_names` with the names of the columns, and `on_row` with each row behind them and the text's place in it.
  template <class OnNames, class OnRow>
  void for_each_row(const fs::path& path, std::string_view content, const OnNames& on_names, const OnRow& on_row) {
    files.push_back(path.string());
    base::named(path.string(), [&] {
      data::CsvReader reader(content, options.max_text_bytes);
      const auto names = reader.next();
      if (!names) throw Error(ErrorCode::kFormat, "line 1: expected the names of the columns, found an empty file");
      const auto column = column_of(*names, options.text_column);
      on_names(*names);
      while (auto row = reader.next()) {
        if (row->fields.size() != names->fields.size())
          throw Error(ErrorCode::kFormat, line_text(row->line) + "expected " + std::to_string(names->fields.size()) +
                                              " fields as in line " + std::to_string(names->line) + ", found " +
                                              std::to_string(row->fields.size()));
        on_row(*row, column);
      }
    });
  }

  void read_csv(const fs::path& path) {
    if (options.text_column == options.label_column)
      base::refuse("text_column and label_column", "two columns", "\"" + options.text_column + "\" for both");
    const auto content = read_text(path, options.max_file_bytes);
    std::vector<std::pair<std::string, std::size_t>> found;  // a row's label and line
    std::size_t label_column = 0;
    const auto find_label = [&](const data::CsvRow& names) { label_column = column_of(names, options.label_column); };
    for_each_row(path, content, find_label, [&](data::CsvRow& row, std::size_t column) {
      auto& label = row.fields[label_column];
      if (label.empty())
        throw Error(ErrorCode::kMismatch,
                    line_text(row.line) + "expected a class in column \"" + options.label_column + "\", found nothing");
      found.emplace_back(std::move(label), row.line);
      add(std::move(row.fields[column]), 0, row.line);
    });
    base::named(path.string(), [&] {
      if (found.empty())
        throw Error(ErrorCode::kMismatch, "expected texts behind the names of the columns, found none");
      set_labels(found);
    });
  }

  void set_labels(const std::vector<std::pair<std::string, std::size_t>>& found) {
    classes = options.classes;
    if (classes.empty()) {
      std::set<std::string> names;
      for (const auto& [label, line] : found) names.insert(label);
      classes.assign(names.begin(), names.end());
      data::check_class_names(classes);
    }
    std::unordered_map<std::string_view, std::int64_t> index;
    for (std::size_t i = 0; i < classes.size(); ++i) index.emplace(classes[i], static_cast<std::int64_t>(i));
    std::vector<char> occurs(classes.size(), 0);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto known = index.find(found[i].first);
      if (known == index.end())
        throw Error(ErrorCode::kMismatch, line_text(found[i].second) + "expected one of the classes " +
                                              base::list_names(classes) + ", found \"" + found[i].first + "\"");
      labels[i] = known->second;
      occurs[static_cast<std::size_t>(known->second)] = 1;
    }
    for (std::size_t i = 0; i < classes.size() && !options.allow_empty_class; ++i)
      if (!occurs[i]) throw Error(ErrorCode::kMismatch, "expected texts of class \"" + classes[i] + "\", found none");
    if (classes.size() == 1 && !options.allow_single_class)
      throw Error(ErrorCode::kMismatch, "expected at least two classes, found only \"" + classes[0] + "\"");
  }

  void read_folder(const fs::path& root) {
    const ImageFolder listed(root, {.classes = options.classes,
                                    .allow_empty_class = options.allow_empty_class,
                                    .allow_single_class = options.allow_single_class});
    classes = listed.classes();
    for (std::size_t i = 0; i < listed.size(); ++i) add_file(listed.path(i), listed.label(i));
  }

  void add_file(const fs::path& path, std::int64_t label) {
    auto text = read_text(path, options.max_file_bytes);
    base::named(path.string(), [&] { check_text_size(text, line_beyond(text, options.max_text_bytes), options); });
    files.push_back(path.string());
    add(std::move(text), label, 0);
  }

  void add_lines(const fs::path& path) {
    const auto content = read_text(path, options.max_file_bytes);
    files.push_back(path.string());
    base::named(path.string(), [&] {
      std::size_t number = 0;
      for (std::string_view rest = content; !rest.empty();) {
        auto line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        check_text_size(line, ++number, options);
        add(std::string(line), 0, number);
      }
      if (number == 0) throw Error(ErrorCode::kMismatch, "line 1: expected a text on each line, found an empty file");
    });
  }

  void check(std::size_t i) const {
    if (i >= texts.size())
      throw Error(ErrorCode::kConfig,
                  "expected an example below " + std::to_string(texts.size()) + ", found " + std::to_string(i));
  }
};

TextDataset::TextDataset(const fs::path& path, const TextOptions& options) : impl_(std::make_unique<Impl>()) {
  base::translated(path.string(), [&] {
    base::require(options.max_text_bytes >= 1, "max_text_bytes", "1 or more", options.max_text_bytes);
    impl().options = options;
    if (is_folder(path)) {
      impl().read_folder(path);
    } else {
      impl().read_csv(path);
    }
  });
}

TextDataset TextDataset::unlabelled(const std::vector<fs::path>& paths, const TextOptions& options) {
  return base::translated("reading texts", [&] {
    auto made = std::make_unique<Impl>();
    made->options = options;
    made->classes = {"text"};
    for (const auto& path : paths) {
      if (is_folder(path)) {
        for (const auto& file : list_images({path})) made->add_file(file, 0);
      } else if (is_csv(path)) {
        const auto content = read_text(path, options.max_file_bytes);
        const auto any_names = [](const data::CsvRow&) {};
        made->for_each_row(path, content, any_names, [&](data::CsvRow& row, std::size_t column) {
          made->add(std::move(row.fields[column]), 0, row.line);
        });
      } else {
        made->add_lines(path);
      }
    }
    if (made->texts.empty()) throw Error(ErrorCode::kMismatch, "expected texts, found none");
    return TextDataset(std::move(made));
  });
}

TextDataset::TextDataset(std::vector<std::string> texts, std::vector<std::int64_t> labels,
                         std::vector<std::string> classes)
    : impl_(std::make_unique<Impl>()) {
  if (texts.size() != labels.size())
    throw Error(ErrorCode::kMismatch, "expected a label for each of " + std::to_string(texts.size()) +
                                          " texts, found " + std::to_string(labels.size()));
  impl().classes = std::move(classes);
  impl().files = {"text"};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    base::named("text " + std::to_string(i + 1), [&] {
      data::check_lines(texts[i]);
      if (labels[i] < 0 || labels[i] >= std::ssize(impl().classes))
        throw Error(ErrorCode::kMismatch, "expected a label below " + std::to_string(impl().classes.size()) +
                                              ", found " + std::to_string(labels[i]));
    });
    impl().add(std::move(texts[i]), labels[i], i + 1);
  }
}

TextDataset::TextDataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TextDataset::Impl& TextDataset::impl() const { return base::alive(impl_, "TextDataset"); }
TextDataset::~TextDataset() = default;
TextDataset::TextDataset(TextDataset&&) noexcept = default;
TextDataset& TextDataset::operator=(TextDataset&&) noexcept = default;

std::pair<TextDataset, TextDataset> TextDataset::split(double second_fraction, std::uint64_t seed) const {
  const auto in_second = data::second_part(impl().labels, classes().size(), second_fraction, seed);
  const auto part = [&](bool second) {
    auto chosen = std::make_unique<Impl>();
    chosen->options = impl().options;
    chosen->classes = impl().classes;
    chosen->files = impl().files;
    for (std::size_t i = 0; i < size(); ++i) {
      if (in_second[i] != second) continue;
      chosen->texts.push_back(impl().texts[i]);
      chosen->labels.push_back(impl().labels[i]);
      chosen->places.push_back(impl().places[i]);
    }
    return TextDataset(std::move(chosen));
  };
  return {part(false), part(true)};
}

std::size_t TextDataset::size() const { return impl().texts.size(); }
const std::vector<std::string>& TextDataset::classes() const { return impl().classes; }

std::int64_t TextDataset::label(std::size_t i) const {
  impl().check(i);
  return impl().labels[i];
}

std::string TextDataset::text(std::size_t i) const {
  impl().check(i);
  return impl().texts[i];
}

std::string TextDataset::name(std::size_t i) const {
  impl().check(i);
  const auto& [file, line] = impl().places[i];
  return impl().files[file] + (line == 0 ? "" : ":" + std::to_string(line));
}

std::string TextDataset::content_id(std::size_t i) const {
  impl().check(i);
  return base::Sha256().update(impl().texts[i]).hex();
}

}  // namespace graft
