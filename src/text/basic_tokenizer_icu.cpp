// What the Python package `tokenizers` does, which pins the Unicode versions of its tables: categories are those of
// Unicode 8, decompositions those of Unicode 9, small letters and white space those of Rust's own library. Networks
// were trained on what it made, and an ICU of any version from 9 on gives the same here.
#include <algorithm>
#include <array>
#include <string>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uset.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <graft/error.h>

#include "base/text.h"
#include "text/basic_tokenizer.h"

namespace graft::text {

namespace {

/// Which Unicode version has assigned a character; those before 8.0 as 8.0.
bool is_of_unicode_8(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] < 8 || (age[0] == 8 && age[1] == 0);
}

/// U_MASK of its category in Unicode 8; what was not assigned then is of none.
std::uint32_t category_in_unicode_8(UChar32 c) {
  switch (c) {  // later versions moved these
    case 0x166d:
    case 0x111c9:
      return U_GC_PO_MASK;
    case 0x1734:
      return U_GC_MN_MASK;
    case 0x1885:
    case 0x1886:
      return U_GC_LO_MASK;
    case 0xa9bd:
      return U_GC_MC_MASK;
    default:
      return is_of_unicode_8(c) ? U_GET_GC_MASK(c) : 0;
  }
}

bool is_white_space(UChar32 c) { return u_isUWhiteSpace(c); }

bool is_removed(UChar32 c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0 || c == 0xfffd || (category_in_unicode_8(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool is_punctuation(UChar32 c) {
  if (c < 0x80) return c > ' ' && c < 0x7f && !u_isalnum(c);
  return (category_in_unicode_8(c) & U_GC_P_MASK) != 0;
}

struct Range {
  UChar32 first, last;
};

bool is_cjk(UChar32 c) {
  // The reference begins the last but two at 0x2b920, where Unicode's block begins at 0x2b820.
  constexpr std::array<Range, 8> kBlocks{{{0x3400, 0x4dbf},
                                          {0x4e00, 0x9fff},
                                          {0xf900, 0xfaff},
                                          {0x20000, 0x2a6df},
                                          {0x2a700, 0x2b73f},
                                          {0x2b740, 0x2b81f},
                                          {0x2b920, 0x2ceaf},
                                          {0x2f800, 0x2fa1f}}};
  return std::ranges::any_of(kBlocks, [c](Range block) { return c >= block.first && c <= block.last; });
}

/// Capitals of Unicode 16 and 17, which the reference knows and ICU 72 does not.
UChar32 small_in_unicode_17(UChar32 c) {
  switch (c) {
    case 0xa7cb:
      return 0x264;
    case 0xa7dc:
      return 0x19b;
    case 0x1c89:
    case 0xa7cc:
    case 0xa7ce:
    case 0xa7d2:
    case 0xa7d4:
    case 0xa7da:
      return c + 1;
    default:
      if (c >= 0x10d50 && c <= 0x10d65) return c + 0x20;
      if (c >= 0x16ea0 && c <= 0x16eb8) return c + 0x1b;
      return c;
  }
}

/// NFD of Unicode 9: later characters stay as they are, and in their places.
const UNormalizer2* nfd_of_unicode_9() {
  static const UNormalizer2* const normalizer = [] {
    UErrorCode error = U_ZERO_ERROR;
    USet* characters = uset_openPattern(u"[:age=9.0:]", -1, &error);
    UNormalizer2* filtered = unorm2_openFiltered(unorm2_getNFDInstance(&error), characters, &error);
    if (U_FAILURE(error)) throw Error(ErrorCode::kInternal, std::string("ICU: ") + u_errorName(error));
    return filtered;  // both for as long as the program runs
  }();
  return normalizer;
}

std::u16string decomposed(const std::u16string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const auto* normalizer = nfd_of_unicode_9();
  const auto size = static_cast<std::int32_t>(text.size());
  if (unorm2_isNormalized(normalizer, text.data(), size, &error)) return text;
  std::u16string result(text.size() * 2, u'\0');
  const auto normalize = [&] {
    error = U_ZERO_ERROR;
    const auto needed = unorm2_normalize(normalizer, text.data(), size, result.data(),
                                         static_cast<std::int32_t>(result.size()), &error);
    result.resize(static_cast<std::size_t>(needed));
  };
  normalize();
  if (error == U_BUFFER_OVERFLOW_ERROR) normalize();
  if (U_FAILURE(error)) throw Error(ErrorCode::kInternal, std::string("ICU: ") + u_errorName(error));
  return result;
}

void append(std::u16string& text, UChar32 c) {
  if (U_IS_BMP(c)) {
    text.push_back(static_cast<char16_t>(c));
  } else {
    text.push_back(U16_LEAD(c));
    text.push_back(U16_TRAIL(c));
  }
}

void append(std::string& text, UChar32 c) {
  std::array<std::uint8_t, U8_MAX_LENGTH> bytes;
  std::size_t size = 0;
  U8_APPEND_UNSAFE(bytes.data(), size, c);
  text.append(reinterpret_cast<const char*>(bytes.data()), size);
}

template <class Function>
void for_each_character(const std::u16string& text, Function&& function) {
  for (std::size_t i = 0; i < text.size();) {
    UChar32 c;
    U16_NEXT_UNSAFE(text, i, c);
    function(c);
  }
}

/// What is read: without control characters, with a space for any white space and around Chinese characters.
std::u16string cleaned(std::string_view text, std::size_t offset, bool split_cjk) {
  std::u16string result;
  result.reserve(text.size());
  for (auto rest = text; !rest.empty();) {
    const auto at = text.size() - rest.size();
    const auto character = base::take_code_point(rest);
    if (!character)
      throw Error(ErrorCode::kFormat, "byte " + std::to_string(offset + at + 1) +
                                          ": expected UTF-8, found a byte that is none (" +
                                          std::to_string(static_cast<unsigned char>(text[at])) + ")");
    const auto c = static_cast<UChar32>(*character);
    if (is_removed(c)) continue;
    if (is_white_space(c)) {
      result.push_back(u' ');
    } else if (split_cjk && is_cjk(c)) {
      result.push_back(u' ');
      append(result, c);
      result.push_back(u' ');
    } else {
      append(result, c);
    }
  }
  return result;
}

/// ICU counts in 32 bits; no text of a data set is a hundredth of this.
constexpr std::size_t kMostBytes = std::size_t{1} << 28;

}  // namespace

void require_unicode() {}

void for_each_word(std::string_view text, std::size_t offset, const Splitting& splitting,
                   const std::function<bool(std::string_view word)>& on_word) {
  if (text.size() > kMostBytes)
    throw Error(ErrorCode::kLimit, "a text: expected at most " + std::to_string(kMostBytes) + " bytes, found " +
                                       std::to_string(text.size()));
  auto characters = cleaned(text, offset, splitting.split_cjk);
  if (splitting.strip_accents) characters = decomposed(characters);

  std::string word;
  bool wanted = true;
  const auto finish = [&] {
    if (wanted && !word.empty()) wanted = on_word(word);
    word.clear();
  };
  const auto add = [&](UChar32 c) {
    if (is_white_space(c)) return finish();
    if (!is_punctuation(c)) return append(word, c);
    finish();
    append(word, c);
    finish();
  };
  constexpr UChar32 kCapitalIWithDot = 0x130, kDotAbove = 0x307;
  for_each_character(characters, [&](UChar32 c) {
    if (!wanted || (splitting.strip_accents && (category_in_unicode_8(c) & U_GC_MN_MASK) != 0)) return;
    if (!splitting.lower_case) return add(c);
    if (c == kCapitalIWithDot) {  // the one capital that becomes two characters
      add('i');
      return add(kDotAbove);
    }
    add(small_in_unicode_17(u_tolower(c)));
  });
  finish();
}

}  // namespace graft::text
