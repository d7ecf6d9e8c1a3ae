#include <graft/error.h>

#include <filesystem>
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
    case ErrorCode::kCancelled:
      return "cancelled";
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

// LibTorch's CPU allocator throws a plain c10::Error for a failed allocation, and its interpreter makes a text of what
// an operator threw; only the words tell. cuBLAS and cuDNN take some memory themselves.
bool tells_of_memory(std::string_view message) {
  for (const char* words : {"DefaultCPUAllocator", "out of memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED",
                            "CUDNN_STATUS_ALLOC_FAILED"})
    if (message.find(words) != std::string_view::npos) return true;
  return false;
}

// Few operators have no kernel for it, and their names are known to nobody before they run.
bool tells_of_float16(std::string_view message) {
  for (const char* words : {"not implemented for 'Half'", "Unsupported dtype Half"})
    if (message.find(words) != std::string_view::npos) return true;
  return false;
}

// Made when the program starts. Copying it takes no memory.
const Error kNoMemoryForAMessage(ErrorCode::kOutOfMemory, "not enough memory");

[[noreturn]] void raise(ErrorCode code, std::string_view context, std::string_view subject, std::string_view message) {
  try {
    std::string text;
    for (const auto part : {context, subject, std::string_view(": "), message}) text += part;
    throw Error(code, text);
  } catch (const std::bad_alloc&) {
    throw kNoMemoryForAMessage;
  }
}

ErrorCode code_of(std::string_view message) {
  if (tells_of_memory(message)) return ErrorCode::kOutOfMemory;
  return tells_of_float16(message) ? ErrorCode::kConfig : ErrorCode::kInternal;
}

}  // namespace

void rethrow_as_error(std::string_view context, std::string_view subject) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    raise(ErrorCode::kOutOfMemory, context, subject, "not enough memory");
  } catch (const std::filesystem::filesystem_error& error) {
    raise(ErrorCode::kIo, context, subject, error.what());
  } catch (const c10::OutOfMemoryError& error) {
    raise(ErrorCode::kOutOfMemory, context, subject, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    raise(code_of(error.what_without_backtrace()), context, subject, error.what_without_backtrace());
  } catch (const std::exception& error) {
    try {
      const std::string message = error.what();  // a copy: some of LibTorch's types make the text anew at every call
      raise(code_of(message), context, subject, message);
    } catch (const std::bad_alloc&) {
      throw kNoMemoryForAMessage;
    }
  } catch (...) {
    raise(ErrorCode::kInternal, context, subject, "an exception that is no std::exception");
  }
}

bool is_about_input(ErrorCode code) noexcept {
  return code != ErrorCode::kOutOfMemory && code != ErrorCode::kCancelled;
}

void rethrow_unless_about_input(std::string_view context) {
  try {
    rethrow_as_error(context);
  } catch (const Error& error) {
    if (!is_about_input(error.code())) throw;
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
