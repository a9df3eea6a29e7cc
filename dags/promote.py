"""### A model goes live by hand

Shows what a scored night offers (its verdict, its gates, its figures) and asks. **Approve** makes
the model live with its recommendations; **Reject**, or no answer in time, leaves live what is live.
Both are recorded with the name and the reason.

It runs by itself after each night when `promotion.approval` is `new_line` or `every_night`; with
`none`, verdicts go live on their own and nothing waits here. Trigger it by hand to decide anew
about the newest night, say after a rejection or a rollback.
"""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param

from nightshift.settings import Settings
from nightshift_airflow.alerts import Question
from nightshift_airflow.assets import RECOMMENDATIONS
from nightshift_airflow.operators.command import CommandOperator
from nightshift_airflow.params import NIGHT_PARAM
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import default_args, offer

OFFER = "{{ ti.xcom_pull('offer')['%s'] }}"
VERB = "{{ 'approve' if ti.xcom_pull('ask')['chosen_options'] == ['Approve'] else 'reject' }}"
WHO = "{{ (ti.xcom_pull('ask')['responded_by_user'] or {}).get('name') or 'nobody in time' }}"
WHY = "{{ ti.xcom_pull('ask')['params_input'].get('reason') or 'no reason was given' }}"


with DAG(
    dag_id="promote",
    description="A person decides whether a night's model goes live",
    doc_md=__doc__,
    schedule=None if Settings.load().promotion.approval == "none" else [RECOMMENDATIONS],
    is_paused_upon_creation=True,
    params={"night": NIGHT_PARAM},
    default_args=default_args(),
    tags=["nightshift"],
) as dag:
    ask = HITLOperator(
        task_id="ask",
        subject=f"Night {OFFER % 'night'}: shall its {OFFER % 'line'} line go live?",
        body=OFFER % "card",
        options=["Approve", "Reject"],
        defaults="Reject",  # no answer in time: what is live stays live
        params={"reason": Param("", type="string", title="Why", description="It is recorded.")},
        notifiers=Question(),
        response_timeout=timedelta(hours=airflow_settings().approval_hours),
    )

    # In the name of the person who answered; the words come one by one, never through a shell.
    decide = CommandOperator(
        task_id="decide",
        command=[
            VERB,
            f"--night={OFFER % 'night'}",
            f"--digest={OFFER % 'digest'}",  # what was shown, and nothing else
            f"--by={WHO}",
            f"--reason={WHY}",
        ],
        execution_timeout=timedelta(minutes=30),
    )

    offer() >> ask >> decide
