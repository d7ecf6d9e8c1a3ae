#include "base/text.h"

#include <cmath>
#include <cstdio>

#include <gtest/gtest.h>

#include <graft/device.h>
#include <graft/error.h>

#include "base/printf.h"
#include "support/expect_error.h"
#include "support/german.h"

namespace graft::base {
namespace {

TEST(Text, NumbersAreParsedWhole) {
  EXPECT_EQ(parse_number("1e-3", "x"), 1e-3);
  EXPECT_EQ(parse_integer("-12", "x"), -12);
  for (const char* bad : {"", "1,5", "nan", "inf", "1x", " 1", "1e999"})
    EXPECT_GRAFT_ERROR(parse_number(bad, "rate"), kConfig, "rate");
  for (const char* bad : {"", "1.0", "99999999999999999999"})
    EXPECT_GRAFT_ERROR(parse_integer(bad, "count"), kConfig, "count");
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,b", ','), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(split("a,,", ','), (std::vector<std::string>{"a", "", ""}));
  EXPECT_TRUE(split("", ',').empty());
}

TEST(Text, PatternsMatchTheWholeName) {
  EXPECT_TRUE(matches("layer*", "layer4.1.conv2"));
  EXPECT_TRUE(matches("*.conv?", "layer4.1.conv2"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_FALSE(matches("layer", "layer4"));
  EXPECT_FALSE(matches("*bn?", "layer4.1.conv2"));
}

TEST(Text, NumbersAreFormattedWithoutTheLocale) {
  EXPECT_EQ(format("%.2f %% of %s", 12.345, "all"), "12.35 % of all");
  EXPECT_EQ(format("%s", std::string(5'000, 'x').c_str()).size(), 5'000u);
  const testing::German german(/*in_cpp=*/true);
  if (!german.works()) GTEST_SKIP() << "no German locale here, and no localedef with its sources";
  EXPECT_EQ(format("%.2f", 1234.5), "1234.50");
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(parse_number("0.5", "x"), 0.5);
  char own[16];
  std::snprintf(own, sizeof own, "%.1f", 0.5);
  EXPECT_STREQ(own, "0,5");  // of the program, as it was
}

TEST(Text, BytesThatAreNoCharacterAreShown) {
  EXPECT_TRUE(is_utf8("") && is_utf8("gr\xc3\xbcn\n"));
  EXPECT_FALSE(is_utf8("gr\xfcn") || is_utf8("\xc3") || is_utf8("\xed\xa0\x80"));
  EXPECT_EQ(with_bytes_shown("gr\xfcn gr\xc3\xbcn\xc3"), "gr\\xfcn gr\xc3\xbcn\\xc3");
}

TEST(Text, MarkupIsEscapedAndAlwaysUtf8) {
  EXPECT_EQ(escaped("a<b>&\"'\t\n"), "a&lt;b&gt;&amp;&quot;&#39;\t\n");
  EXPECT_EQ(escaped("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98"),
            "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98");
  const std::string no = "\xEF\xBF\xBD";
  for (const std::string_view bad : {"\x01", "\r", "\x7f", "\x80", "\xff", "\xc3", "\xf8"}) EXPECT_EQ(escaped(bad), no);
  EXPECT_EQ(escaped(std::string_view("\0", 1)), no);
  EXPECT_EQ(escaped("\xc0\xaf"), no + no);                    // "/" in two bytes
  EXPECT_EQ(escaped("\xe0\x80\xaf"), no + no + no);           // in three
  EXPECT_EQ(escaped("\xed\xa0\x80"), no + no + no);           // half of a pair
  EXPECT_EQ(escaped("\xef\xbf\xbf"), no);                     // U+FFFF is no character
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), no + no + no + no);  // beyond Unicode
  EXPECT_EQ(escaped("\xe2\x82<"), no + no + "&lt;");          // cut short
}

TEST(Text, NumbersAreWrittenInAsFewDigitsAsTellThemApart) {
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(1e-8), "1e-08");
  EXPECT_NE(shortest(0.1), shortest(std::nextafter(0.1, 1)));
  EXPECT_EQ(parse_number(shortest(1.0 / 3), "x"), 1.0 / 3);
}

TEST(Text, LowerCaseIsAsciis) { EXPECT_EQ(lower_case("A-Z \xc3\x84 9"), "a-z \xc3\x84 9"); }

TEST(Text, PlainTextIsUtf8WithoutControlCharacters) {
  for (const std::string_view good : {"", "a\tb\n", "gr\xc3\xbc\xc3\x9f"}) EXPECT_TRUE(is_plain_text(good)) << good;
  for (const std::string_view bad : {"\x01", "a\r", "\x7f", "\xff", "gr\xc3", "\xed\xa0\x80"})
    EXPECT_FALSE(is_plain_text(bad)) << bad;
  EXPECT_FALSE(is_plain_text(std::string_view("\0", 1)));
}

TEST(Device, IsParsedAndPrinted) {
  EXPECT_EQ(Device::parse("cpu"), Device::cpu());
  EXPECT_EQ(Device::parse("auto").is_cuda(), cuda_device_count() > 0);
  EXPECT_EQ(Device::cuda(1).str(), "cuda:1");
  EXPECT_GRAFT_ERROR(Device::parse("gpu"), kConfig, "gpu");
  EXPECT_GRAFT_ERROR(Device::parse("cuda:99"), kConfig, "cuda:99");
}

}  // namespace
}  // namespace graft::base
