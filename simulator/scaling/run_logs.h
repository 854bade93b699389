#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "simulator/scaling/run_text.h"

namespace archfront {

/// What a file beside a log says of its run, as columns: of a `config.json` of Hugging Face's or the native form
/// n_params (non-embedding, active), n_params_counted (as the Trainer's total_flos counts: all but the input
/// embedding), d_model and n_layers; of any other JSON object its leaves.
struct RunSidecar {
  std::vector<std::pair<std::string, std::string>> columns;
  std::string note;  ///< why the model could not be read; "": it could, or there is none
};
RunSidecar sidecar_of(const std::filesystem::path& folder);

/// Appends the rows of one Hugging Face Trainer state. Columns: run_id, step, loss (the evaluation's where the run has
/// one, else the training loss), train_loss, tokens, flops and whatever else its log_history has. tokens is
/// num_input_tokens_seen, or where the trainer did not count them total_flos / (6 n_params_counted) in proportion to
/// the step; flops is total_flos in proportion to the step. `text` is the file, for line numbers.
void append_trainer_state(std::string_view text, const nlohmann::json& state, const std::string& where,
                          const std::string& run_id, const RunSidecar& sidecar, RunTableBuilder& rows);

/// Whether a line of a log is one of ours: begins with "s:250" or "step:250".
bool is_step_log(std::string_view text);
/// Appends a log of lines "s:250 tel:6.51" (llm.c: tel loss on held-out text, trl training loss, eval HellaSwag) or
/// "step:250/5000 val_loss:6.51 train_loss:..." (modded-nanogpt); other lines are passed over. Columns: run_id, step,
/// loss (held-out where the log has it, else training), train_loss, and the other keys as they are.
void append_step_log(std::string_view text, const std::string& run_id, const RunSidecar& sidecar,
                     RunTableBuilder& rows);

/// A chart exported from Weights & Biases ("Step", "RUN - METRIC", "RUN - METRIC__MIN", ...) as one row a run and
/// step; a table of runs with run_id standing for its "ID" or "Name", and a note if some did not finish. Anything else
/// as it is.
RunTable from_wandb(RunTable table);

}  // namespace archfront
