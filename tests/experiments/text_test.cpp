#include "experiments/text.h"

#include <gtest/gtest.h>

namespace archfront {
namespace {

TEST(Text, QuantitiesHaveThreeDigitsAndAUnit) {
  EXPECT_EQ(show_seconds(0.0124), "12.4 ms");
  EXPECT_EQ(show_seconds(2.0), "2.00 s");
  EXPECT_EQ(show_seconds(7200), "2.0 h");
  EXPECT_EQ(show_bytes(141e9), "141 GB");
  EXPECT_EQ(show_bandwidth(3.1e12), "3.10 TB/s");
  EXPECT_EQ(show_rate(7.9e14), "790 TFLOP/s");
  EXPECT_EQ(show_count(1'235'814'400), "1.24 B");
  EXPECT_EQ(show_count(999'700), "1.00 M");
  EXPECT_EQ(show_count(12), "12.0");
}

TEST(Text, ColumnsLineUp) {
  TextTable table({"name", "x", "what"});
  table.add({"a", "1 ms", "long words"});
  table.add({"longer", "100 ms", "b"});
  EXPECT_EQ(table.text(), "name         x  what\na         1 ms  long words\nlonger  100 ms  b\n");
  EXPECT_EQ(table.csv(), "name,x,what\na,1 ms,long words\nlonger,100 ms,b\n");
  EXPECT_EQ(table.json(),
            "[{\"name\":\"a\",\"what\":\"long words\",\"x\":\"1 ms\"},{\"name\":\"longer\",\"what\":\"b\",\"x\":\"100 "
            "ms\"}]\n");
}

}  // namespace
}  // namespace archfront
