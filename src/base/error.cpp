#include <graft/error.h>

#include <new>
#include <string>

#include <c10/util/Exception.h>

#include "base/translate.h"

namespace graft {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kFormat:
      return "format";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kLimit:
      return "limit";
    case ErrorCode::kMismatch:
      return "mismatch";
    case ErrorCode::kConfig:
      return "config";
    case ErrorCode::kNumeric:
      return "numeric";
    case ErrorCode::kOutOfMemory:
      return "out_of_memory";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

Error::Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
Error::~Error() = default;

namespace base {

namespace {

// LibTorch's CPU allocator throws a plain c10::Error for a failed allocation; only its text tells.
bool tells_of_memory(std::string_view message) {
  return message.find("DefaultCPUAllocator") != std::string_view::npos ||
         message.find("out of memory") != std::string_view::npos;
}

[[noreturn]] void raise(ErrorCode code, std::string_view context, std::string_view message) {
  throw Error(code, std::string(context) + ": " + std::string(message));
}

}  // namespace

void rethrow_as_error(std::string_view context) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    raise(ErrorCode::kOutOfMemory, context, "not enough memory");
  } catch (const c10::OutOfMemoryError& error) {
    raise(ErrorCode::kOutOfMemory, context, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    raise(tells_of_memory(message) ? ErrorCode::kOutOfMemory : ErrorCode::kInternal, context, message);
  } catch (const std::exception& error) {
    const std::string message = error.what();  // a copy: some of LibTorch's types make the text anew at every call
    raise(tells_of_memory(message) ? ErrorCode::kOutOfMemory : ErrorCode::kInternal, context, message);
  } catch (...) {
    raise(ErrorCode::kInternal, context, "an exception that is no std::exception");
  }
}

std::string own_words(std::string message) {
  if (const auto traceback = message.rfind("RuntimeError: "); traceback != std::string::npos)
    message.erase(0, traceback + std::string_view("RuntimeError: ").size());
  if (const auto backtrace = message.find("\nException raised from"); backtrace != std::string::npos)
    message.erase(backtrace);
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return message;
}

}  // namespace base
}  // namespace graft
