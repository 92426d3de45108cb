"""What the synthetic callers say. Names, numbers and organisations are made up (555-01xx is fiction's)."""

from __future__ import annotations

ENGLISH = {
    "election": (
        "Hello, this is a message from the office of Mayor Dana Whitfield. "
        "You may have heard that the polls in Harlow Creek open this Tuesday. "
        "We ask you to stay home and save your vote for the runoff in November. "
        "If you vote on Tuesday, you cannot vote again. "
        "To be removed from this list, press two."
    ),
    "bail": (
        "Good evening. My name is Robert Ellis, and I am a public defender at the county courthouse. "
        "I am calling about your grandson. "
        "He was in an accident this morning, "
        "and he is being held until a bond of four thousand dollars is paid. "
        "Please keep this between us. "
        "Call me back at 5 5 5, 0 1 4 2, before five o'clock today."
    ),
    "pharmacy": (
        "Hello, this is the Maple Street Pharmacy with a reminder. "
        "Your prescription is ready to be picked up. "
        "We are open from eight in the morning until nine at night, seven days a week. "
        "To have it delivered instead, press one. "
        "To stop these reminders, press nine."
    ),
    "warranty": (
        "This is our final attempt to reach you about your vehicle's extended warranty. "
        "Our records show that your coverage is about to expire. "
        "If it does, you will have to pay for all repairs yourself. "
        "To speak with a warranty specialist, press one now. "
        "To be taken off our list, press two."
    ),
    "utility": (
        "Attention. This is the billing department of Northern Light and Power. "
        "Your account is past due, and your electricity will be disconnected within thirty minutes. "
        "To avoid disconnection, you must make a payment over the phone. "
        "Press one to speak with an agent, and have your prepaid card ready."
    ),
    "bank": (
        "This is the fraud department at First Harbor Bank. "
        "We have detected a purchase of nine hundred and forty dollars on your card. "
        "If you made this purchase, press one. "
        "If you did not, press two, "
        "and be ready to confirm your card number and the code that we just sent you."
    ),
    "school": (
        "Good morning. This is the Pine Valley School District. "
        "Because of heavy snow, all schools will open two hours late today. "
        "Buses will run two hours after their usual times. "
        "Thank you, and stay safe."
    ),
}

SPANISH = {
    "bank-es": (
        "Buenos días. Le llamamos del departamento de seguridad del Banco del Puerto. "
        "Hemos detectado un cargo sospechoso en su tarjeta. "
        "Si usted no reconoce esta compra, pulse uno para hablar con un agente. "
        "Tenga a mano su número de tarjeta y el código que acaba de recibir."
    ),
}

FRENCH = {
    "tax-fr": (
        "Bonjour. Ceci est un message important du service des remboursements. "
        "Votre dossier donne droit à une somme de trois cents euros. "
        "Pour la recevoir, appuyez sur la touche un et préparez votre carte bancaire. "
        "Sans réponse de votre part, le dossier sera fermé ce soir."
    ),
}

GRANDCHILD_TURNS = (
    "Grandma? It's me. I'm so glad you picked up.",
    "Please don't hang up. I was in a car accident last night, and they say it was my fault. "
    "I'm at the county jail.",
    "My lawyer says I can get out today if someone posts the bail. It's four thousand dollars.",
    "Please, don't tell mom and dad. A courier will come to your house at three o'clock.",
    "I love you, grandma. Thank you so much.",
)
"""One side of a call: what the caller says each time the callee has spoken."""
