/// Text to the numbers that a network for text takes: WordPiece, as BERT and the encoders after it have it.
/// Thread-safety: a Tokenizer is a value that never changes; safe everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/export.h>

namespace graft {

/// How a Tokenizer splits. The defaults are those of bert-base-uncased.
struct TokenizerOptions {
  bool lower_case = true;
  std::optional<bool> strip_accents = {};  ///< "café" as "cafe"; not said: as lower_case
  bool split_cjk = true;                   ///< each Chinese character is a word of its own
  std::int64_t max_length = 512;           ///< tokens of a text, first and last one included; the rest is cut off
  std::int64_t max_word_length = 100;      ///< characters; longer words are unknown
  /// "[SEP]" in a text is the token of that name, as the Python package has it; false: five characters like any others.
  bool special_tokens_in_text = true;
  std::string unknown = "[UNK]";  ///< for words that the vocabulary has no pieces for
  std::string first = "[CLS]";    ///< goes before every text
  std::string last = "[SEP]";     ///< goes behind every text
  std::string padding = "[PAD]";  ///< fills up the shorter texts of a batch
  std::string mask = "[MASK]";    ///< recognised in texts where the vocabulary has it

  bool operator==(const TokenizerOptions&) const = default;
};

/// BERT's tokenizer: characters are cleaned, Chinese ones set apart, accents taken off (Unicode's NFD), letters made
/// small, words split at white space and punctuation, and each word taken apart into the longest pieces of a vocabulary
/// from the left (Wu et al. 2016, arXiv:1609.08144; Devlin et al. 2019, arXiv:1810.04805). Token by token what the
/// Python package `tokenizers` makes of it (BertWordPieceTokenizer). Needs a Graft that was built with ICU.
class GRAFT_EXPORT Tokenizer {
 public:
  /// Pieces in index order; those that begin with "##" go on with a word. Throws Error kMismatch (a piece twice or
  /// empty, or without one of the special tokens), kFormat (not UTF-8), kConfig (lengths out of range: max_length from
  /// 2 on, max_word_length from 1 on; a Graft without ICU).
  explicit Tokenizer(std::vector<std::string> vocabulary, const TokenizerOptions& options = {});

  Tokenizer(const Tokenizer&) = default;  ///< cheap: both share what they are made of
  Tokenizer& operator=(const Tokenizer&) = default;

  /// A file with a piece on each line, as BERT's vocab.txt. Throws as the constructor does, naming the file and the
  /// line; kIo; kLimit (a file above 64 MB).
  static Tokenizer read(const std::filesystem::path& vocabulary, const TokenizerOptions& options = {});

  /// The pieces of a text: none of the special tokens around it, nothing cut off. Throws Error kFormat naming the byte
  /// at which a text is not UTF-8.
  std::vector<std::string> tokenize(std::string_view text) const;
  /// Their indices between those of `first` and `last`, at most max_length in all. Throws as tokenize() does.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// A batch: [N, length of the longest], int64, CPU; shorter ones are filled up with the index of `padding` at the
  /// end. Throws as tokenize() does, naming which text; kConfig for none.
  at::Tensor encode(const std::vector<std::string>& texts) const;

  const std::vector<std::string>& vocabulary() const;  ///< in index order
  const TokenizerOptions& options() const;
  std::int64_t padding_index() const;

  /// Same vocabulary, same options.
  bool operator==(const Tokenizer& other) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace graft
