/// BERT's basic tokenizer: a text's words, before they are taken apart. With ICU, or refused.
#pragma once

#include <functional>
#include <string_view>

namespace graft::text {

struct Splitting {
  bool lower_case = true;
  bool strip_accents = true;
  bool split_cjk = true;
};

/// Throws Error kConfig where this Graft was built without ICU.
void require_unicode();

/// Calls `on_word` with each word of a text, as UTF-8, until it says false. Throws Error kFormat naming the byte at
/// which the text is not UTF-8, behind the `offset` bytes that come before it.
void for_each_word(std::string_view text, std::size_t offset, const Splitting& splitting,
                   const std::function<bool(std::string_view word)>& on_word);

}  // namespace graft::text
