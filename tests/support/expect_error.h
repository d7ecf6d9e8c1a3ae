/// EXPECT_GRAFT_ERROR(expression, kCode, "part of the message").
#pragma once

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/error.h>

#define EXPECT_GRAFT_ERROR(expression, expected_code, message_part)                                     \
  try {                                                                                                 \
    (void)(expression);                                                                                 \
    ADD_FAILURE() << #expression " did not throw";                                                      \
  } catch (const ::graft::Error& error) {                                                               \
    EXPECT_EQ(::graft::to_string(error.code()), ::graft::to_string(::graft::ErrorCode::expected_code)); \
    EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr(message_part));                         \
  }                                                                                                     \
  static_assert(true, "")
