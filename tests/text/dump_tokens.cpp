// Tokenises texts, for tokenizers_test.py to compare with the Python package.
//
//   dump_tokens VOCABULARY [lowercase=0] [strip_accents=0|1] [handle_chinese_chars=0] [max_length=N]
//   [special_tokens_in_text=0]
//
// From standard input, for each text: how many bytes it has, as text on a line, then these bytes. To standard output,
// for each: its tokens' indices on a line, or "error: ...".
#include <cstdio>
#include <iostream>
#include <string>

#include <graft/graft.h>

namespace {

graft::TokenizerOptions options_of(int argc, char** argv) {
  graft::TokenizerOptions options;
  options.max_length = 1'000'000;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto name = argument.substr(0, argument.find('='));
    const auto value = std::stoll(argument.substr(name.size() + 1));
    if (name == "lowercase") options.lower_case = value != 0;
    if (name == "strip_accents") options.strip_accents = value != 0;
    if (name == "handle_chinese_chars") options.split_cjk = value != 0;
    if (name == "max_length") options.max_length = value;
    if (name == "special_tokens_in_text") options.special_tokens_in_text = value != 0;
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto tokenizer = graft::Tokenizer::read(argc > 1 ? argv[1] : "", options_of(argc, argv));
    for (std::string size; std::getline(std::cin, size);) {
      std::string text(std::stoul(size), '\0');
      std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
      try {
        for (const auto index : tokenizer.encode(text)) std::printf("%lld ", static_cast<long long>(index));
        std::puts("");
      } catch (const graft::Error& error) {
        std::printf("error: %s\n", error.what());
      }
    }
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "dump_tokens: %s\n", error.what());
    return 1;
  }
}
