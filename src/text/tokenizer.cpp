#include <graft/tokenizer.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>

#include <graft/error.h>

#include "base/byte_source.h"
#include "base/check.h"
#include "base/text.h"
#include "base/translate.h"
#include "text/basic_tokenizer.h"
#include "text/padded.h"

namespace graft {

namespace {

constexpr std::size_t kMostFileBytes = 64 << 20;
constexpr std::string_view kContinues = "##";

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) != 0x80; }

std::size_t count_characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::ranges::count_if(utf8, begins_character));
}

}  // namespace

struct [[gnu::visibility("hidden")]] Tokenizer::Impl {
  std::vector<std::string> vocabulary;
  TokenizerOptions options;
  text::Splitting splitting;
  std::unordered_map<std::string_view, std::int64_t> indices;  ///< of `vocabulary`, whose strings never move
  std::int64_t unknown = 0, first = 0, last = 0, padding = 0;
  std::vector<std::string> special;  ///< tokens that are recognised in texts

  Impl(std::vector<std::string> pieces, const TokenizerOptions& o) : vocabulary(std::move(pieces)), options(o) {
    text::require_unicode();
    base::require(options.max_length >= 2, "tokenizer: max_length", "2 or more", options.max_length);
    base::require(options.max_word_length >= 1, "tokenizer: max_word_length", "1 or more", options.max_word_length);
    splitting = {options.lower_case, options.strip_accents.value_or(options.lower_case), options.split_cjk};
    indices.reserve(vocabulary.size());
    for (std::size_t i = 0; i < vocabulary.size(); ++i) add(i);
    unknown = index_of(options.unknown);
    first = index_of(options.first);
    last = index_of(options.last);
    padding = index_of(options.padding);
    if (!options.special_tokens_in_text) return;
    for (const auto& token : {options.unknown, options.first, options.last, options.padding, options.mask})
      if (!token.empty() && indices.contains(token)) special.push_back(token);
  }

  void add(std::size_t i) {
    const auto line = [i] { return "vocabulary, line " + std::to_string(i + 1) + ": "; };
    const std::string& piece = vocabulary[i];
    if (piece.empty()) throw Error(ErrorCode::kMismatch, line() + "expected a piece of a word, found a blank line");
    for (std::string_view rest = piece; !rest.empty();)
      if (!base::take_code_point(rest)) throw Error(ErrorCode::kFormat, line() + "expected UTF-8, found other bytes");
    if (piece.find('\n') != piece.npos)
      throw Error(ErrorCode::kMismatch, line() + "expected a piece of a word, found a line break in it");
    const auto [earlier, fresh] = indices.emplace(piece, static_cast<std::int64_t>(i));
    if (!fresh)
      throw Error(ErrorCode::kMismatch, line() + "expected every piece once, found \"" + piece + "\" again (line " +
                                            std::to_string(earlier->second + 1) + ")");
  }

  std::int64_t index_of(const std::string& token) const {
    const auto found = indices.find(token);
    if (found == indices.end())
      throw Error(ErrorCode::kMismatch, "vocabulary: expected the token \"" + token + "\" among " +
                                            std::to_string(vocabulary.size()) + " pieces, found none");
    return found->second;
  }

  /// Pieces of a word, in order, each the longest that the vocabulary has; `unknown` alone if there is none for a part.
  void add_pieces(std::string_view word, std::vector<std::int64_t>& pieces) const {
    if (count_characters(word) > static_cast<std::size_t>(options.max_word_length)) return pieces.push_back(unknown);
    const auto before = pieces.size();
    std::string part(word);
    while (!part.empty()) {
      std::size_t size = part.size();
      const std::size_t least = pieces.size() == before ? 0 : kContinues.size();
      auto found = indices.end();
      while (size > least && (found = indices.find(std::string_view(part).substr(0, size))) == indices.end()) do
          --size;
        while (size > least && !begins_character(part[size]));
      if (found == indices.end()) {
        pieces.resize(before);
        return pieces.push_back(unknown);
      }
      pieces.push_back(found->second);
      if (size == part.size()) return;
      part.replace(0, size, kContinues);
    }
  }

  /// Where the first special token from `offset` on is, and which; the longest of those that begin there. `next`:
  /// where each comes next, from the calls before, so that a text is searched once for each.
  std::pair<std::size_t, std::string_view> find_special(std::string_view text, std::size_t offset,
                                                        std::vector<std::size_t>& next) const {
    std::pair<std::size_t, std::string_view> best{text.npos, {}};
    next.resize(special.size());
    for (std::size_t i = 0; i < special.size(); ++i) {
      const std::string_view token = special[i];
      auto& at = next[i];
      if (at < offset || offset == 0) at = text.find(token, offset);
      if (at < best.first || (at == best.first && at != text.npos && token.size() > best.second.size()))
        best = {at, token};
    }
    return best;
  }

  /// The pieces of a text, `most` of them at most.
  std::vector<std::int64_t> pieces(std::string_view text, std::size_t most) const {
    std::vector<std::int64_t> result;
    const auto on_word = [&](std::string_view word) {
      add_pieces(word, result);
      return result.size() < most;
    };
    std::vector<std::size_t> next;
    for (std::size_t offset = 0; offset < text.size() && result.size() < most;) {
      const auto [at, token] = find_special(text, offset, next);
      text::for_each_word(text.substr(offset, at - offset), offset, splitting, on_word);
      if (at == text.npos) break;
      if (result.size() < most) result.push_back(indices.at(token));
      offset = at + token.size();
    }
    if (result.size() > most) result.resize(most);
    return result;
  }
};

Tokenizer::Tokenizer(std::vector<std::string> vocabulary, const TokenizerOptions& options)
    : impl_(base::translated("tokenizer",
                             [&] { return std::make_shared<const Impl>(std::move(vocabulary), options); })) {}

Tokenizer Tokenizer::read(const std::filesystem::path& vocabulary, const TokenizerOptions& options) {
  return base::translated("reading " + vocabulary.string(), [&] {
    const auto bytes = base::read_file(vocabulary, kMostFileBytes);
    return base::named(vocabulary.string(), [&] {
      std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (text.ends_with('\n')) text.remove_suffix(1);
      auto pieces = base::split(text, '\n');
      for (auto& piece : pieces) piece.resize(piece.find_last_not_of(" \t\r") + 1);
      return Tokenizer(std::move(pieces), options);
    });
  });
}

std::vector<std::string> Tokenizer::tokenize(std::string_view text) const {
  return base::translated("tokenizing", [&] {
    std::vector<std::string> result;
    for (const auto index : impl_->pieces(text, std::numeric_limits<std::size_t>::max()))
      result.push_back(impl_->vocabulary[static_cast<std::size_t>(index)]);
    return result;
  });
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  return base::translated("tokenizing", [&] {
    auto result = impl_->pieces(text, static_cast<std::size_t>(impl_->options.max_length) - 2);
    result.insert(result.begin(), impl_->first);
    result.push_back(impl_->last);
    return result;
  });
}

at::Tensor Tokenizer::encode(const std::vector<std::string>& texts) const {
  return base::translated("tokenizing", [&] {
    if (texts.empty()) base::refuse("tokenizer", "a text at least", "none");
    std::vector<std::vector<std::int64_t>> rows;
    for (const auto& text : texts)
      rows.push_back(base::named("text " + std::to_string(rows.size() + 1), [&] { return encode(text); }));
    return text::padded(rows, impl_->padding);
  });
}

const std::vector<std::string>& Tokenizer::vocabulary() const { return impl_->vocabulary; }
const TokenizerOptions& Tokenizer::options() const { return impl_->options; }
std::int64_t Tokenizer::padding_index() const { return impl_->padding; }

bool Tokenizer::operator==(const Tokenizer& other) const {
  return impl_ == other.impl_ ||
         (impl_->options == other.impl_->options && impl_->vocabulary == other.impl_->vocabulary);
}

}  // namespace graft
