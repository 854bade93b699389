// archfront bench: hands over to the program of the benchmarks, which lies beside this one.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "costmodels/errors.h"
#include "experiments/command.h"

namespace archfront {

int run_bench(std::span<const std::string> arguments, std::FILE* /*out*/) {
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> words{folder / "archfront_bench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  if (errno == ENOENT)
    throw InputError(
        fmt::format("the program of the benchmarks is missing: {}: keep it beside archfront, as the build "
                    "makes it",
                    words[0]));
  throw std::runtime_error(fmt::format("cannot run {}: {}", words[0], std::strerror(errno)));
}

}  // namespace archfront
