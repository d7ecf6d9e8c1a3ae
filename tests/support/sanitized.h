/// Tests that ask for what a sanitizer cannot give.
#pragma once

namespace graft::testing {

/// AddressSanitizer and ThreadSanitizer keep what is freed, and need all of the address space.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace graft::testing
